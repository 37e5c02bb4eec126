"""Receivers of alerts that are down, slow or mad: runs do not notice, and all is told once when they are well."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope
from pydantic import SecretStr

from openaq_pipeline import watch
from openaq_pipeline.monitoring.delivery import Limits, tell
from openaq_pipeline.reports import RunReport
from openaq_pipeline.settings import NotificationSettings, Settings
from tests.alerts.parts import Answer, Handler, Receiver, drip, free_port, hang, receiver, status
from tests.faults import manners, oracle
from tests.faults.conftest import Tally, Times
from tests.faults.net import LATER, START, Bench, bench, copied

CHANNEL_SECONDS, WHOLE_SECONDS = 3.0, 8.0


def hang_up(handler: Handler, _receiver: Receiver) -> None:
    handler.connection.close()


def no_http(handler: Handler, _receiver: Receiver) -> None:
    handler.wfile.write(b"220 smtp.example.org ESMTP\r\n")


def gigabyte(handler: Handler, _receiver: Receiver) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    with suppress(OSError):
        for _ in range(1000):
            handler.wfile.write(b" " * 1_000_000)


ANSWERS: dict[str, Answer] = {
    "hangs": hang,
    "drips": drip,
    "hangs up": hang_up,
    "no HTTP": no_http,
    "429": status(429, Retry_After="999999"),
    "500": status(500),
    "a gigabyte": gigabyte,
    "redirect": status(307, Location="http://127.0.0.1:9/elsewhere"),
}
"""How both HTTP receivers behave until they are well."""

PERMANENT = {"redirect"}
"""After these a notice is given up: it is told to nobody, which the log and the book say."""


class Mails:
    """What a mail server keeps; `busy`: it wants every mail later, `hangs`: it never says whether it has taken one."""

    def __init__(self) -> None:
        self.subjects: list[str] = []
        self.busy = self.hangs = False

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        if self.hangs:
            await asyncio.sleep(30)
        if self.busy:
            return "451 come back later"
        assert isinstance(envelope.content, bytes)
        self.subjects.append(envelope.content.split(b"Subject: ")[1].split(b"\r\n")[0].decode())
        return "250 OK"


@contextmanager
def mail_server() -> Iterator[tuple[Mails, int]]:
    mails, port = Mails(), free_port()
    controller = Controller(mails, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield mails, port
    finally:
        controller.stop()


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("old")) as made:
        yield made


def test_sick_receivers_delay_nothing_for_long_and_hear_all_once_when_they_are_well(
    old: Bench, tmp_path: Path, times: Times, chance: random.Random, tally: Tally
) -> None:
    cases = chance.sample(list(ANSWERS), times(3, len(ANSWERS)))
    for case in cases:
        with pytest.MonkeyPatch.context() as monkeypatch:
            all_is_told_once(case, old, tmp_path / case, monkeypatch)
    tally(26, "receivers of all three channels", len(cases))


def all_is_told_once(case: str, old: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        copied(old, folder) as made,
        receiver(ANSWERS[case]) as slack,
        receiver(ANSWERS[case]) as webhook,
        mail_server() as (mails, port),
    ):
        told = NotificationSettings.model_validate(channels(slack.url(), webhook.url(), port))
        after = partial(
            seconds_after, made.settings(made.folder).model_copy(update={"notifications": told}), monkeypatch
        )
        mails.busy, mails.hangs = case != "hangs", case == "hangs"
        made.server.arm(manners.status(401))
        report = made.poll(LATER)
        assert report.needs_a_person
        assert after(report, LATER) < WHOLE_SECONDS + 6
        assert made.watermarks() == made.watermarks_before
        sick = len(slack.received), len(webhook.received)
        slack.answer = webhook.answer = status(200)
        mails.busy = mails.hangs = False
        for hours in (2, 3):  # as if it had gone on: told late, and once
            after(report, LATER + hours)
        made.server.clear()
        for hours in (24, 25):
            good = made.poll(LATER + hours)
            assert good.complete
            after(good, LATER + hours)
        oracle.check(made.folder, restarted=True)
    healthy = [one.json["id"] for one in webhook.received[sick[1] :]]
    assert len(set(healthy)) == len(healthy) == len(slack.received) - sick[0]
    heard = {one.json["id"]: (one.json["kind"], one.json["key"]) for one in webhook.received}
    assert len(set(heard.values())) == len(heard)
    assert len(set(mails.subjects)) == len(mails.subjects)
    if case not in PERMANENT:
        assert {("begun", "needs_a_person"), ("recovered", "needs_a_person")} <= set(heard.values())
        assert len(mails.subjects) == len(heard)


def channels(slack: str, webhook: str, port: int) -> dict[str, object]:
    """Return the section `notifications` for three channels."""
    mail = {"host": "127.0.0.1", "port": port, "from": "a@example.org", "to": ["b@example.org"], "security": "none"}
    return {
        "enabled": True,
        "slack": {"enabled": True, "webhook_url": SecretStr(slack)},
        "webhook": {"enabled": True, "url": SecretStr(webhook), "allow_private": True},
        "email": {"enabled": True, **mail},
    }


def seconds_after(settings: Settings, monkeypatch: pytest.MonkeyPatch, report: RunReport, hours: float) -> float:
    """Do what follows a run at this hour; return how long it took."""
    now = START + timedelta(hours=hours)
    limits = Limits(CHANNEL_SECONDS, WHOLE_SECONDS)
    monkeypatch.setattr(watch, "tell", partial(tell, limits=limits, clock=lambda: now))
    began = time.monotonic()
    watch.after_poll(settings, report, now)
    return time.monotonic() - began
