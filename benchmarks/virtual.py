"""`python -m benchmarks.virtual T run …`: `openaq-pipeline run …` in a process in which it is T, and stays T.

So hours and days of polls can be measured within minutes, on all of the way that a user's command goes.
"""

from __future__ import annotations

import sys
from datetime import datetime

from openaq_pipeline import wiring


def main() -> int:
    """Run the command; return its exit code."""
    now = datetime.fromisoformat(sys.argv[1])
    # Before the modules are loaded that take the clock from there.
    setattr(wiring, "utc_now", lambda: now)  # noqa: B010 - a type checker lets no function be replaced
    from openaq_pipeline.cli import main as openaq_pipeline  # noqa: PLC0415

    return openaq_pipeline(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
