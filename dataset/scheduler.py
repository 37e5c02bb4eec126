"""Run again and again, as the schedule says: `openaq-pipeline schedule`."""

from __future__ import annotations

import sys

try:
    from openaq_pipeline.cli import main
except ModuleNotFoundError as error:
    print(f"{error.name} is not installed. Run: pip install -r requirements.txt", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(main(["schedule", *sys.argv[1:]], prog="scheduler.py"))
