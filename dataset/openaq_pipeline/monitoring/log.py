"""The log: for people on the console, as JSON lines in `pipeline.log`, and without a secret in either.

Everything that becomes text goes through one place, `_Formatter.format`: message, arguments and traceback are put
together first and cleaned then, because a secret hides in the text of an exception as well as in an argument. What
does not come as a record (an uncaught exception, a warning of Python) is made one; what is printed past the log goes
through `clean`.

The standard library's `logging` without structlog on top: that would cost each start 0.08 CPU seconds, and what it
would do here is the two short classes below.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TextIO

from openaq_pipeline import redact
from openaq_pipeline.errors import PipelineError
from openaq_pipeline.locks import make_folder
from openaq_pipeline.monitoring.log_file import SharedLogFile
from openaq_pipeline.redact import clean, one_line
from openaq_pipeline.settings import Settings, secrets_of

log = logging.getLogger(__name__)

COLOURS = {logging.DEBUG: "2", logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "1;31"}
TELLTALES = ("urllib3", "requests", "httpx", "slack_sdk", "asyncio")
"""Libraries whose debug lines hold whole addresses or headers, or nothing but chatter."""


def set_up_console(level: int | str = logging.INFO, *, stream: TextIO | None = None) -> None:
    """Log to the console (None: stderr) from now on, and to nothing else; what is uncaught goes there too."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, SharedLogFile) or type(handler) is logging.StreamHandler:
            root.removeHandler(handler)
            handler.close()
    console = logging.StreamHandler(stream or sys.stderr)
    console.setFormatter(_Console(colours=_wants_colours(console.stream)))
    root.addHandler(console)
    root.setLevel(level)
    for name in TELLTALES:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable


def set_up(settings: Settings, *, to_file: bool, stream: TextIO | None = None) -> None:
    """Log as the settings say: to the console, and with `to_file` to `monitoring.log_file` too; hide their secrets.

    May be called again with other settings. A log file that can't be written is a warning on the console.
    """
    hide(settings)
    set_up_console(settings.monitoring.log_level, stream=stream)
    if to_file:
        path = path_of(settings)
        with suppress(PipelineError):  # whoever needs the folder says what is wrong with it
            if not path.parent.is_dir() and path.parent == settings.data_dir:
                make_folder(path.parent)
        file = SharedLogFile(path, log.warning)
        file.setFormatter(_JsonLine())
        file.addFilter(lambda record: record.name != __name__)  # the complaint about the file can't go into the file
        logging.getLogger().addHandler(file)
        file.check()


def hide(settings: Settings) -> None:
    """Let no secret of these settings appear in anything that is told, nor any in the address of a proxy."""
    proxies = (value for name, value in os.environ.items() if name.lower().endswith("_proxy") and "@" in value)
    redact.hide([*secrets_of(settings), *proxies])


def path_of(settings: Settings) -> Path:
    """Return where the log file is: in the data folder, unless it has a place of its own."""
    return settings.data_dir / Path(settings.monitoring.log_file)


class _Formatter(logging.Formatter):
    """Renders a record and lets neither secret nor line end through; how it looks is the business of `layout`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        try:
            message = record.getMessage()
        except Exception as error:  # noqa: BLE001 - a wrong argument must not hide what was to be said
            message = f"{record.msg} ({type(error).__name__} in its arguments)"
        trace = [self.formatException(record.exc_info)] if record.exc_info else []
        trace += [self.formatStack(record.stack_info)] if record.stack_info else []
        # Not `record.exc_text`: another handler may have put an uncleaned traceback there.
        return self.layout(record, one_line(clean(message)), clean("\n".join(trace)) or None)

    def layout(self, record: logging.LogRecord, message: str, exception: str | None) -> str:
        """Return the line or lines of a record whose texts are clean."""
        raise NotImplementedError


class _Console(_Formatter):
    """`LEVEL message`, with a traceback set in from the margin so that none of its lines passes for a record."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def layout(self, record: logging.LogRecord, message: str, exception: str | None) -> str:
        level, colour = record.levelname, COLOURS.get(record.levelno)
        head = f"\x1b[{colour}m{level}\x1b[0m" if self._colours and colour else level
        lines = [f"{head} {message}", *(f"    {line}" for line in (exception or "").splitlines())]
        return "\n".join(lines)


class _JsonLine(_Formatter):
    """One JSON object: `time` (UTC), `level`, `logger`, `process`, `message`, and `exception` where there is one."""

    def layout(self, record: logging.LogRecord, message: str, exception: str | None) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, str | int | None] = {
            "time": time,
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": message,
        }
        if exception:
            line["exception"] = exception
        return json.dumps(line, ensure_ascii=False)


def _wants_colours(stream: TextIO) -> bool:
    """Say whether to colour: on a terminal, unless the user does not want it (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log what would end the process; an interrupt is no fault."""
    if issubclass(kind, KeyboardInterrupt):
        return
    log_of_bugs.critical("Uncaught %s: %s", kind.__name__, error, exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    """Log what ended a thread; `SystemExit` is its orderly end."""
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        name = args.thread.name if args.thread else "a thread"
        trace = (args.exc_type, args.exc_value, args.exc_traceback)
        log_of_bugs.critical("Uncaught %s in %s", args.exc_type.__name__, name, exc_info=trace)


def _unraisable(args: sys.UnraisableHookArgs) -> None:
    """Log what could be raised nowhere, such as an error while an object was taken apart."""
    if args.exc_value is not None:
        trace = (args.exc_type, args.exc_value, args.exc_traceback)
        log_of_bugs.error("%s: %s", args.err_msg or "Exception ignored", args.exc_value, exc_info=trace)


log_of_bugs = logging.getLogger("openaq_pipeline")
