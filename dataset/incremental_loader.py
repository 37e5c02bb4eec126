"""Bring every location up to now once, or fill a range of the past: `openaq-pipeline run`."""

from __future__ import annotations

import sys

try:
    from openaq_pipeline.cli import main
except ModuleNotFoundError as error:
    print(f"{error.name} is not installed. Run: pip install -r requirements.txt", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]], prog="incremental_loader.py"))
