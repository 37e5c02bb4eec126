"""The image as it is built: who it runs as, and what it weighs."""

from __future__ import annotations

from tests.containers.engine import Engine


def test_the_program_runs_as_a_user_without_rights(engine: Engine, image: str) -> None:
    assert engine("run", "--rm", image, "id", "-u") == "10001"
