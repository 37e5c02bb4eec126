"""Bring two versions of a location file together, row by row: git's merge driver on the branch of the data.

    rows.py BASE THEIRS OURS    writes the outcome over THEIRS, as git wants it

Where both have a row, the version that is not the base's counts, ours if both differ. A row that one side took away
(its month moved to the history there) is gone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

Key = tuple[str, int]
"""The order of a file: `datetime`, then `sensors_id`."""


def rows(path: Path) -> dict[Key, str]:
    """Return the lines of a file by their key; none of an empty file. ValueError: it is no location file."""
    text = path.read_text(encoding="utf-8")
    listed: list[dict[str, Any]] = json.loads(text or "[]")
    lines = [line.rstrip(",") for line in text.splitlines() if line.startswith("{")]
    if len(listed) != len(lines):
        raise ValueError(f"{path} does not have a row a line")
    return {(row["datetime"], row["sensors_id"]): line for row, line in zip(listed, lines, strict=True)}


def merged(base: dict[Key, str], theirs: dict[Key, str], ours: dict[Key, str]) -> dict[Key, str]:
    """Return the rows of both sides, in the order of a file."""
    found: dict[Key, str] = {}
    for key in sorted(theirs.keys() | ours.keys()):
        before, there, here = base.get(key), theirs.get(key), ours.get(key)
        line = there if here == before else here
        if line is not None:
            found[key] = line
    return found


def main(base: Path, theirs: Path, ours: Path) -> None:
    """Write the outcome as the program writes its files."""
    lines = merged(rows(base), rows(theirs), rows(ours)).values()
    theirs.write_text("[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
