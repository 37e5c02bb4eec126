"""A short look at every fuzzing target: its seeds, what is near them, and one true round where atheris is to be had."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT
from tests.fuzz.targets import TARGETS

MUTANTS = 40
CHUNKS = (b"[" * 2000, b"\x00", b"\xff", b"1e999", b"-1", b"9" * 400, b'"', b"{", b"\\ud800", b"null", b"\n")


def near(seed: bytes, chance: random.Random) -> Iterator[bytes]:
    """Yield inputs that differ from a good one in a place or three: cut, doubled, overwritten, swapped."""
    for _ in range(MUTANTS):
        body = bytearray(seed)
        for _ in range(chance.randint(1, 3)):
            start = chance.randrange(len(body) + 1)
            end = min(len(body), start + chance.choice((0, 1, 1, 8)))
            twice = bytes(body[start:end]) * 2
            body[start:end] = chance.choice((b"", twice, chance.choice(CHUNKS), chance.randbytes(1)))
        yield bytes(body)


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_stands_near_a_good_input_is_read_or_refused(name: str) -> None:
    target, seeds = TARGETS[name]
    chance = random.Random(name)
    for seed in (b"", *seeds):
        target(seed)
        for body in near(seed, chance):
            try:
                target(body)
            except Exception as error:
                raise AssertionError(f"{name} fails at {body!r}") from error


def test_a_round_of_atheris_finds_nothing_in_the_page_of_measurements() -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("NOT tested: atheris is not to be had on this platform")
    command = [sys.executable, "-m", "tests.fuzz", "--runs", "3000", "--seconds", "20", "page"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "Done 3000 runs" in done.stdout
