"""The alarm clock when it is closed at the wrong moment."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from apscheduler.schedulers.base import STATE_STOPPED

from openaq_pipeline.daemon.alarm import Alarm
from tests.daemon.conftest import until


def test_an_alarm_that_is_closed_while_it_rings_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    alarm, rang, died = Alarm(), threading.Event(), list[object]()
    monkeypatch.setattr(threading, "excepthook", died.append)
    scheduler = alarm._scheduler
    thread, executor = scheduler._thread, scheduler._executors["default"]
    submit = executor.submit_job

    def closed_meanwhile(*work: Any) -> None:
        submit(*work)
        alarm.close()
        until(lambda: scheduler.state == STATE_STOPPED, "the scheduler is told to end")

    monkeypatch.setattr(executor, "submit_job", closed_meanwhile)
    alarm.set(datetime.now(UTC), rang.set)
    assert rang.wait(10)
    thread.join(10)
    assert not thread.is_alive()
    assert not died
