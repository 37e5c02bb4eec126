"""How many examples a property is tried with: a quarter in `make test`, which is run often, all with `--long`."""

from __future__ import annotations

import hypothesis

USUAL, QUICK_SHARE = 100, 4
"""Hypothesis tries so many unless told otherwise; without `--long` it is one in so many."""

_long = False


def settle(*, long: bool) -> None:
    """Choose for this session, before any test is collected."""
    global _long  # noqa: PLW0603 - what a decorator asks at import can't come from a fixture
    _long = long
    hypothesis.settings.register_profile("often", hypothesis.settings(), max_examples=examples(USUAL))
    hypothesis.settings.load_profile("often")


def examples(often: int) -> int:
    """Return how many examples to try where `--long` tries so many."""
    return often if _long else -(-often // QUICK_SHARE)
