"""`python -m benchmarks.virtual --config F --now T`: the main job at a time of its own, with its report on stdout.

So hours and days of polls can be measured within minutes. All else is as `incremental_loader.py --json` does it.
"""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path

from openaq_pipeline.cli.run_command import apply, exit_code, print_json
from openaq_pipeline.config import load
from openaq_pipeline.monitoring.metrics import metrics_of
from openaq_pipeline.run import run_once
from openaq_pipeline.watch import after_poll


def main() -> int:
    """Run once; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.virtual", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, metavar="F", help="the configuration")
    parser.add_argument("--now", type=datetime.fromisoformat, required=True, metavar="T", help="what time it is")
    flags = parser.parse_args()
    settings = load(config=flags.config)
    apply(settings, to_file=True)
    report = run_once(settings, clock=lambda: flags.now)
    after_poll(settings, report, flags.now)
    print_json(metrics_of(report))
    return exit_code(report)


if __name__ == "__main__":
    sys.exit(main())
