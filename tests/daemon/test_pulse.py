"""The sign of life of a run: what the daemon hears, and that giving one neither waits nor harms."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from openaq_pipeline import pulse
from openaq_pipeline.errors import Stopped
from openaq_pipeline.pulse import Pulse, beat
from openaq_pipeline.wiring import Stop


@pytest.fixture
def life(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pulse]:
    made = Pulse()
    monkeypatch.setenv(pulse.VARIABLE, made.name)
    yield made
    made.close()


def test_a_beat_is_heard_once(life: Pulse) -> None:
    assert not life.heard()
    beat()
    beat()
    assert life.heard()
    assert not life.heard()


def test_a_pipe_that_nobody_empties_stops_no_run(life: Pulse) -> None:
    for _ in range(100_000):
        beat()
    assert life.heard()
    assert not life.heard()


def test_without_a_daemon_or_with_one_that_is_gone_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(pulse.VARIABLE, raising=False)
    beat()
    for nonsense in ("", ":", "x:1", "-1:1", "99999:1", "\uff11:1"):
        monkeypatch.setenv(pulse.VARIABLE, nonsense)
        beat()


def test_no_other_file_of_that_number_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "mine").open("w") as file:
        for inode in ("", "0", str(os.fstat(file.fileno()).st_ino)):
            monkeypatch.setenv(pulse.VARIABLE, f"{file.fileno()}:{inode}")
            beat()
    assert (tmp_path / "mine").read_bytes() == b""


def test_who_waits_in_order_gives_signs_of_life_and_still_hears_a_stop(life: Pulse) -> None:
    stop = Stop()
    stop.check()
    assert life.heard()
    stop.sleep(0.01)
    assert life.heard()
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        stop.sleep(30)
    assert time.monotonic() - began < 5
    with pytest.raises(Stopped):
        stop.sleep(0)


def test_a_run_says_that_all_is_current_and_that_is_heard_once(life: Pulse) -> None:
    beat()
    assert not life.heard_that_all_is_current()
    pulse.all_is_current()
    beat()
    assert life.heard(), "it counts as a sign of life as well"
    assert life.heard_that_all_is_current()
    assert not life.heard_that_all_is_current()
