"""The command line: arguments in, one sentence and an exit code out. The only room that prints."""

from __future__ import annotations

import gc
import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence

from openaq_pipeline import installed, pulse
from openaq_pipeline.cli.arguments import make_parser
from openaq_pipeline.cli.lean import become_lean
from openaq_pipeline.errors import ConfigError, LockHeld, PipelineError
from openaq_pipeline.redact import clean

EXIT_FINE, EXIT_FELL_SHORT, EXIT_USAGE, EXIT_LOCKED, EXIT_BUG = range(5)


def main(argv: Sequence[str] | None = None, *, prog: str = "openaq-pipeline") -> int:
    """Run one command and return its exit code: 0 fine, 1 fell short, 2 bad usage, 3 folder in use, 4 a bug."""
    become_lean()
    pulse.beat()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that this terminal can't show ends no run
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        namespace = make_parser(prog, arguments).parse_args(arguments)
        _set_up_logging(debug=debug)
        code: int = namespace.command(namespace)
        sys.stdout.flush()
    except PipelineError as error:
        return _explain(error, debug=debug)
    except KeyboardInterrupt:
        print("Interrupted; what was stored stays stored.", file=sys.stderr)
        return EXIT_FELL_SHORT
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FELL_SHORT
    except Exception as error:  # noqa: BLE001 - whatever is left is a bug, and the user is told so
        lack = installed.explained(error) if isinstance(error, ModuleNotFoundError) else None
        return _explain(lack, debug=debug) if lack else _confess(error, debug=debug)
    finally:
        gc.freeze()  # Python's last act is to look for garbage among all there is, which frees what is freed anyway
    return code


def _set_up_logging(*, debug: bool) -> None:
    level = logging.DEBUG if debug else logging.INFO
    logging.basicConfig(level=level, format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("urllib3").setLevel(logging.WARNING)  # its debug lines hold whole URLs


def _explain(error: PipelineError, *, debug: bool) -> int:
    """Say what is wrong and what to do; return the exit code of this kind of error."""
    if debug:
        _say(traceback.format_exc())
    _say(f"Error: {str(error).rstrip('.')}.")
    if isinstance(error, ConfigError):
        for problem in error.problems:
            _say(f"  - {problem}")
    if error.hint:
        _say(error.hint)
    if isinstance(error, ConfigError):
        return EXIT_USAGE
    return EXIT_LOCKED if isinstance(error, LockHeld) else EXIT_FELL_SHORT


def _confess(error: Exception, *, debug: bool) -> int:
    if debug:
        _say(traceback.format_exc())
    _say(f"Error: this is a bug ({type(error).__name__}: {error}).")
    _say("Please report it with what `--debug` prints; what was stored stays stored.")
    return EXIT_BUG


def _say(text: str) -> None:
    """Print to stderr without the secrets that are known by now."""
    print(clean(text), file=sys.stderr)
