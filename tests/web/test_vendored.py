from __future__ import annotations

import hashlib
import json
import re

from openaq_pipeline.web.rendering import HERE

VENDOR = HERE / "static" / "vendor"


def test_each_file_of_others_is_the_one_that_was_noted() -> None:
    text = (VENDOR / "README.md").read_text()
    noted = dict(re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", text, re.MULTILINE))
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir()}
    assert files.keys() - {"README.md"} == noted.keys()
    assert {name: files[name] for name in noted} == noted


def test_the_outline_of_the_land_is_small_and_lies_on_the_globe() -> None:
    body = (VENDOR / "land.json").read_bytes()
    assert len(body) < 60_000
    for ring in json.loads(body):
        x = y = 0
        for step_x, step_y in zip(ring[::2], ring[1::2], strict=True):
            x, y = x + step_x, y + step_y
            assert -4000 <= x <= 4000
            assert -900 <= y <= 900


def test_our_own_script_is_small() -> None:
    assert max(path.stat().st_size for path in (HERE / "static").glob("*.js")) < 20_000
