"""`python -m openaq_pipeline`: the console entry."""

from __future__ import annotations

import sys

from openaq_pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main())
