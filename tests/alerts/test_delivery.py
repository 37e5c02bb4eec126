"""From a condition to the receiver: stored first, sent within a deadline, tried again, never in the way of a run."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from datetime import datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from openaq_pipeline import redact
from openaq_pipeline.errors import DeliveryError
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.monitoring.channels import Sender, channels_of, problems
from openaq_pipeline.monitoring.conditions import Assessment
from openaq_pipeline.monitoring.delivery import Limits, Summary, deliver, send_test, tell
from openaq_pipeline.monitoring.quiet import QuietHours
from openaq_pipeline.reports import Condition, Notice
from openaq_pipeline.settings import EmailSettings, NotificationSettings, SlackSettings, WebhookSettings
from tests.alerts.conftest import Receive
from tests.alerts.parts import NOW, condition, drip, free_port, hang, policy, status
from tests.conftest import ROOT

SLACK_OR_HOOK = policy("slack", "webhook")
QUICK = Limits(channel_seconds=0.5, whole_seconds=1.0)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


class Told:
    """A channel that keeps what it is told, after it has failed as ordered."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.notices: list[Notice] = []

    def send(self, notice: Notice, *, timeout_seconds: float) -> None:
        assert timeout_seconds > 0
        if self.failures:
            raise self.failures.pop(0)
        self.notices.append(notice)

    @property
    def heard(self) -> list[tuple[str, str]]:
        return [(notice.kind, notice.condition.key) for notice in self.notices]


@pytest.fixture
def file(tmp_path: Path) -> AlertFile:
    return AlertFile(tmp_path)


def told(file: AlertFile, channels: dict[str, Sender], clock: Clock, *keys: str, limits: Limits = QUICK) -> Summary:
    assessment = Assessment(tuple(map(condition, keys)))
    return tell(file, assessment, channels, policy=policy(*channels), clock=clock, limits=limits)


def test_no_channel_is_told_a_secret_whatever_a_condition_was_made_of(
    file: AlertFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redact, "_secrets", set())
    monkeypatch.setattr(redact, "_redactor", redact.Redactor())
    redact.hide(["canary-secret"])
    channel = Told()
    spoilt = Condition("quality", "warning", "of canary-secret", "said canary-secret", "see canary-secret")
    tell(file, Assessment((spoilt,)), {"webhook": channel}, policy=policy("webhook"), clock=Clock(), limits=QUICK)
    (heard,) = channel.notices
    assert "canary-secret" not in repr(heard)
    assert heard.condition.title == f"of {redact.MASK}"


def webhook(url: str, **others: Any) -> NotificationSettings:
    receiver = WebhookSettings(enabled=True, url=SecretStr(url), allow_private=True, **others)
    return NotificationSettings(enabled=True, webhook=receiver)


def test_a_condition_arrives_once_and_so_does_its_end(file: AlertFile, receive: Receive) -> None:
    server, clock = receive(status(200)), Clock()
    channels = channels_of(webhook(server.url()), "staging")
    for keys in (["quality"], ["quality"], [], []):
        told(file, channels, clock, *keys)
        clock.forward(hours=1)
    assert [(got.json["kind"], got.json["environment"]) for got in server.received] == [
        ("begun", "staging"),
        ("recovered", "staging"),
    ]
    assert file.read().outbox == ()


def test_what_fails_is_tried_again_when_its_time_has_come(file: AlertFile, receive: Receive) -> None:
    server, clock = receive(status(500)), Clock()
    channels = channels_of(webhook(server.url()), "")
    summary = told(file, channels, clock, "quality")
    assert [tried.error for tried in summary.failed] == [
        "The webhook receiver 127.0.0.1 answered 500. Check whether it works and can be reached from here."
    ]
    assert (summary.sent, summary.pending) == ((), 1)
    server.answer = status(200)
    assert deliver(file, channels, policy=SLACK_OR_HOOK, clock=clock, limits=QUICK) == Summary(pending=1)
    clock.forward(minutes=1)
    assert len(deliver(file, channels, policy=SLACK_OR_HOOK, clock=clock, limits=QUICK).sent) == 1
    first, second = server.received
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_what_fails_for_good_is_given_up_and_said(file: AlertFile, receive: Receive) -> None:
    channels = channels_of(webhook(receive(status(404)).url()), "")
    (failed,) = told(file, channels, Clock(), "quality").failed
    assert failed.given_up
    book = file.read()
    assert book.outbox == ()
    assert "answered 404" in (book.undelivered[0].last_error or "")


@pytest.mark.parametrize("answer", [hang, drip])
def test_a_hanging_channel_delays_neither_the_others_nor_the_run(
    file: AlertFile, receive: Receive, answer: Any
) -> None:
    quick = Told()
    channels: dict[str, Sender] = {**channels_of(webhook(receive(answer).url()), ""), "slack": quick}
    began = time.monotonic()
    summary = told(file, channels, Clock(), "a", "b", "c")
    assert time.monotonic() - began < 5
    assert len(quick.heard) == 3
    assert [tried.channel for tried in summary.failed] == ["webhook"]
    assert summary.pending == 3


def test_a_channel_that_ignores_its_deadline_is_left_behind(file: AlertFile) -> None:
    class Deaf:
        def send(self, notice: Notice, *, timeout_seconds: float) -> None:
            del notice, timeout_seconds
            time.sleep(3)

    began = time.monotonic()
    (failed,) = told(file, {"email": Deaf()}, Clock(), "a").failed
    assert time.monotonic() - began < 2.5
    assert "No answer from email in time" in (failed.error or "")
    assert file.read().outbox[0].attempts == 1


def test_the_whole_has_a_deadline_however_many_are_waiting(file: AlertFile) -> None:
    class Slow(Told):
        def send(self, notice: Notice, *, timeout_seconds: float) -> None:
            time.sleep(0.1)
            super().send(notice, timeout_seconds=timeout_seconds)

    slow, keys = Slow(), [f"k{number}" for number in range(50)]
    began = time.monotonic()
    summary = told(file, {"slack": slow}, Clock(), *keys, limits=Limits(0.4, 0.5))
    assert time.monotonic() - began < 4
    assert 1 <= len(summary.sent) < 10
    assert summary.pending == 50 - len(summary.sent)


def test_a_channel_that_is_down_is_asked_once_a_pass(file: AlertFile) -> None:
    down = Told(*[DeliveryError("down", permanent=False)] * 9)
    assert len(told(file, {"slack": down}, Clock(), "a", "b", "c").failed) == 1
    assert len(down.failures) == 8


def test_a_bug_in_a_channel_is_told_without_its_text_and_ends_nothing(file: AlertFile) -> None:
    broken, fine = Told(KeyError("SECRET")), Told()
    summary = told(file, {"slack": broken, "email": fine}, Clock(), "a")
    assert [tried.error for tried in summary.failed] == ["This is a bug of the slack channel: KeyError"]
    assert fine.heard == [("begun", "a")]


def test_beginning_and_end_stay_in_order_when_the_beginning_has_to_wait(file: AlertFile) -> None:
    clock, shaky = Clock(), Told(DeliveryError("down", permanent=False))
    told(file, {"slack": shaky}, clock, "a")
    told(file, {"slack": shaky}, clock)
    assert shaky.heard == []
    clock.forward(minutes=2)
    deliver(file, {"slack": shaky}, policy=SLACK_OR_HOOK, clock=clock, limits=QUICK)
    assert shaky.heard == [("begun", "a"), ("recovered", "a")]


def test_while_another_delivers_nothing_is_sent_but_all_is_noted(file: AlertFile, tmp_path: Path) -> None:
    fine = Told()
    with AlertFile(tmp_path).delivering():
        assert told(file, {"slack": fine}, Clock(), "a").busy
    assert fine.heard == []
    assert len(deliver(file, {"slack": fine}, policy=SLACK_OR_HOOK, clock=Clock(), limits=QUICK).sent) == 1


def test_a_full_disk_does_not_silence_an_alert(file: AlertFile, tmp_path: Path) -> None:
    (tmp_path / "..alerts.json.tmp" / "x").mkdir(parents=True)
    fine, clock = Told(), Clock()
    for _ in range(3):
        told(file, {"slack": fine}, clock, "a")
    assert fine.heard == [("begun", "a")]


def test_what_could_not_be_sent_in_the_evening_is_not_tried_at_night(file: AlertFile) -> None:
    clock, channel = Clock(), Told(DeliveryError("down", permanent=False))
    known = policy("slack", quiet=QuietHours(time_of_day(22), time_of_day(7), "UTC"))
    clock.forward(hours=9.9)
    tell(file, Assessment((condition(),)), {"slack": channel}, policy=known, clock=clock, limits=QUICK)
    for hours in (1, 8):
        clock.forward(hours=hours)
        assert deliver(file, {"slack": channel}, policy=known, clock=clock, limits=QUICK).tried == ()
    clock.forward(hours=1)
    deliver(file, {"slack": channel}, policy=known, clock=clock, limits=QUICK)
    assert channel.heard == [("begun", "quality")]


# --- test notices ---


def test_a_test_goes_to_every_channel_at_once_and_says_what_happened(receive: Receive, tmp_path: Path) -> None:
    server = receive(status(200))
    bad = SlackSettings(enabled=True, webhook_url=SecretStr(f"http://127.0.0.1:{free_port()}/SECRET"))
    settings = webhook(server.url()).model_copy(update={"slack": bad})
    slack, hook = send_test(channels_of(settings, "staging"), limits=QUICK)
    assert (slack.channel, hook.channel) == ("slack", "webhook")
    assert (slack.error or "").startswith("Slack (127.0.0.1) can't be reached: Connection refused. Check")
    assert hook.error is None
    assert [got.json["kind"] for got in server.received] == ["test"]
    assert list(tmp_path.iterdir()) == []


def test_a_test_of_a_channel_that_hangs_ends_in_time(receive: Receive) -> None:
    began = time.monotonic()
    (tried,) = send_test(channels_of(webhook(receive(hang).url()), ""), limits=QUICK)
    assert "did not answer in time" in (tried.error or "")
    assert time.monotonic() - began < 5


# --- channels from settings ---


def test_only_enabled_channels_are_made_and_none_while_notifications_are_off() -> None:
    settings = webhook("http://127.0.0.1/x")
    assert list(channels_of(settings, "")) == ["webhook"]
    assert channels_of(settings.model_copy(update={"enabled": False}), "") == {}
    assert problems(settings) == {}


def test_a_channel_without_an_address_is_a_problem_and_its_notices_are_given_up_visibly(file: AlertFile) -> None:
    settings = NotificationSettings(
        enabled=True,
        slack=SlackSettings(enabled=True),
        email=EmailSettings(enabled=True),
        webhook=WebhookSettings(enabled=True),
    )
    said = problems(settings)
    assert said["slack"].startswith("SLACK_WEBHOOK_URL is not set")
    assert said["email"].startswith("SMTP_HOST is not set")
    assert said["webhook"].startswith("WEBHOOK_URL is not set")
    told(file, channels_of(settings, ""), Clock(), "a")
    assert len(file.read().undelivered) == 3


# --- a crash ---

NOTE_AND_HANG = """
import sys, time
from datetime import timedelta
from pathlib import Path
from openaq_pipeline.reports import Condition
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.monitoring.conditions import Assessment
from openaq_pipeline.monitoring.delivery import tell
from openaq_pipeline.monitoring.telling import Policy

class Hanging:
    def send(self, notice, *, timeout_seconds):
        print(notice.id, flush=True)
        time.sleep(60)

found = tuple(Condition(key, "critical", "t", "m") for key in ("a", "b"))
policy = Policy({"slack": "info"}, timedelta(hours=24))
tell(AlertFile(Path(sys.argv[1])), Assessment(found), {"slack": Hanging()}, policy=policy)
"""


def test_kill_9_between_storing_and_sending_loses_no_notice(file: AlertFile, tmp_path: Path) -> None:
    command = [sys.executable, "-c", NOTE_AND_HANG, str(tmp_path)]
    environment = {"PYTHONPATH": str(ROOT / "dataset")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        notice_id = process.stdout.readline().strip()  # it is about to send
        process.kill()
    fine, clock = Told(), Clock()
    clock.now = file.read().outbox[0].queued
    assert len(deliver(file, {"slack": fine}, policy=SLACK_OR_HOOK, clock=clock, limits=QUICK).sent) == 2
    assert fine.heard == [("begun", "a"), ("begun", "b")]
    assert fine.notices[0].id == notice_id


# --- secrets ---

CANARY = "CANARY-xyzzy"


def test_no_secret_is_in_log_error_or_book_whatever_the_receivers_do(
    file: AlertFile, tmp_path: Path, receive: Receive, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def repeat(handler: Any, _receiver: object) -> None:
        """Answer with the address that was asked, as careless servers do."""
        handler.send_response(403, handler.path)
        handler.end_headers()
        handler.wfile.write(handler.path.encode())

    clock, tried = Clock(), []
    for number, answer in enumerate([repeat, hang, status(302, Location=f"/{CANARY}"), status(500, CANARY), None]):
        port = receive(answer).port if answer else free_port()
        tried += list(told(file, _everything(port), clock, f"k{number}").tried)
        clock.forward(hours=2)
    tried += list(send_test(_everything(free_port()), limits=QUICK))
    assert len(tried) >= 15
    assert all(attempt.error for attempt in tried)
    seen = caplog.text + repr(tried) + (tmp_path / ".alerts.json").read_text()
    assert CANARY not in seen
    assert "Could not tell slack" in seen


def _everything(port: int) -> dict[str, Sender]:
    address = SecretStr(f"http://127.0.0.1:{port}/services/{CANARY}?token={CANARY}")
    mail = {"host": "127.0.0.1", "port": port, "security": "none", "username": "robot", "password": CANARY}
    return channels_of(
        NotificationSettings(
            enabled=True,
            slack=SlackSettings(enabled=True, webhook_url=address),
            email=EmailSettings.model_validate({"enabled": True, "from": "a@b.example", "to": ["c@d.example"], **mail}),
            webhook=WebhookSettings(enabled=True, url=address, secret=SecretStr(CANARY), allow_private=True),
        ),
        "staging",
    )
