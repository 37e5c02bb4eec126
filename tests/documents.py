"""The documents as tests read them: the text under a heading, and its code blocks."""

from __future__ import annotations

import re

from tests.conftest import ROOT

MANUAL = (ROOT / "PIPELINE_README.md").read_text()


def section(title: str, document: str = MANUAL) -> str:
    """The text under a heading, up to the next one of its level or above."""
    found = re.search(rf"^(#+) {re.escape(title)}\n", document, re.MULTILINE)
    assert found, title
    rest = document[found.end() :]
    following = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: following.start()] if following else rest


def blocks(title: str, language: str = "bash", document: str = MANUAL) -> list[str]:
    """The code blocks of a language under a heading, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", section(title, document), re.DOTALL | re.MULTILINE)
