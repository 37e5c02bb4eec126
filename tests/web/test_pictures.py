from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT

PICTURES = sorted((ROOT / "docs" / "images").glob("*.png"))
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_small_and_can_be_read(path: Path) -> None:
    assert path.stat().st_size < 200_000
    with Image.open(path) as image:
        image.verify()


def test_the_readme_shows_pictures_that_are_there_in_light_and_dark() -> None:
    shown = set(re.findall(r"docs/images/[\w-]+\.png", README))
    assert {"docs/images/status-light.png", "docs/images/status-dark.png"} <= shown
    for name in shown:
        assert (ROOT / name).exists(), name
