"""`python -m tests.fuzz [--seconds N] [--runs N] [TARGET …]`: each target in a process of its own, led by its coverage.

A find ends with exit code 1, and the input that provokes it is in `fuzz-finds/`; `--again FILE TARGET` runs that alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FINDS = Path("fuzz-finds")
sys.path.insert(0, str(ROOT / "dataset"))  # this tree's code, whichever is installed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=20, help="for each target")
    parser.add_argument("--runs", type=int, default=-1, help="for each target; default as many as there is time for")
    parser.add_argument("--again", type=Path, metavar="FILE", help="run one input")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.again:
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - imported under instrumentation elsewhere

        TARGETS[options.targets[0]][0](options.again.read_bytes())
        return 0
    if options.inside:
        fuzz(options.targets[0], options.seconds, options.runs)
    names = options.targets or known()
    failed = [name for name in names if not survives(name, options.seconds, options.runs)]
    print(f"{len(names) - len(failed)} of {len(names)} targets found nothing", *failed)
    return 1 if failed else 0


def known() -> list[str]:
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415

    return list(TARGETS)


def survives(name: str, seconds: int, runs: int) -> bool:
    """Fuzz one target in a process of its own, and say whether nothing was found."""
    command = [sys.executable, "-m", "tests.fuzz", "--inside", "--seconds", str(seconds), "--runs", str(runs), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = [line for line in done.stderr.splitlines() if line.startswith(("Done", "stat::number_of_executed"))]
    print(f"{name:<16} {last[-1] if last else 'FOUND SOMETHING'}", flush=True)
    if done.returncode:
        print(done.stderr[-3000:], flush=True)
    return done.returncode == 0


def fuzz(name: str, seconds: int, runs: int) -> None:
    """Fuzz one target here; never returns."""
    import atheris  # noqa: PLC0415 - not on every platform

    with atheris.instrument_imports(include=["openaq_pipeline"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415
    target, seeds = TARGETS[name]
    FINDS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-corpus-") as corpus:
        for number, seed in enumerate(seeds):
            Path(corpus, str(number)).write_bytes(seed)
        flags = [f"-max_total_time={seconds}", f"-runs={runs}", "-max_len=8192", "-timeout=10", "-rss_limit_mb=1024"]
        place = f"-artifact_prefix={FINDS}/{name.replace(' ', '-')}-"
        atheris.Setup([sys.argv[0], *flags, place, corpus], target)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
