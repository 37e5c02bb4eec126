"""Say whether everything is in place for a run: `openaq-pipeline preflight`. No pytest, in spite of its name."""

from __future__ import annotations

import sys

try:
    from openaq_pipeline.cli import main
except ModuleNotFoundError as error:
    print(f"{error.name} is not installed. Run: pip install -r requirements.txt", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(main(["preflight", *sys.argv[1:]], prog="test_pipeline.py"))
