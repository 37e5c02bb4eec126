"""Apprise: real HTTP and real mail, each address a receiver of its own, in time, and no address in any log."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from openaq_pipeline import redact
from openaq_pipeline.errors import DeliveryError
from openaq_pipeline.monitoring import log as pipeline_log
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.monitoring.channels import Sender, channels_of, problems, receivers
from openaq_pipeline.monitoring.channels.apprise import AppriseAddress
from openaq_pipeline.monitoring.conditions import Assessment
from openaq_pipeline.monitoring.delivery import Limits, Tried, deliver, tell
from openaq_pipeline.settings import AppriseSettings, NotificationSettings, Settings
from tests.alerts.conftest import Receive
from tests.alerts.parts import NOW, ORIGIN, Receiver, condition, drip, free_port, hang, notice, policy, status
from tests.alerts.test_email import Servers, servers
from tests.conftest import ROOT

__all__ = ["servers"]  # the fixture of the tests of mail

CANARY = "CANARY-xyzzy"
QUICK = Limits(channel_seconds=1.0, whole_seconds=3.0)


def at(server: Receiver, path: str = CANARY) -> str:
    return f"json://{server.host}:{server.port}/{path}"


def told(*addresses: str) -> NotificationSettings:
    return NotificationSettings(
        enabled=True, apprise=AppriseSettings(enabled=True, urls=SecretStr("\n ".join(addresses)))
    )


def refusal(address: str, seconds: float = 5) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        AppriseAddress("apprise:1", address, ORIGIN).send(notice(), timeout_seconds=seconds)
    assert CANARY not in caught.value.advice
    return caught.value


def test_a_notice_arrives_by_http_with_all_that_it_says(receive: Receive) -> None:
    server = receive(status(200))
    AppriseAddress("apprise:1", at(server), ORIGIN).send(notice(), timeout_seconds=5)
    (got,) = server.received
    assert got.path == f"/{CANARY}"
    assert got.json["title"] == "Warning: About quality [staging on box-7]"
    assert got.json["type"] == "warning"
    for expected in ("It is bad.", "Look at it.", "2026-11-01 12:00:00 UTC"):
        assert expected in got.json["message"]


@pytest.mark.parametrize(("kind", "expected"), [("recovered", "success"), ("test", "failure")])
def test_a_notice_has_the_type_of_its_level(receive: Receive, kind: Any, expected: str) -> None:
    server = receive(status(200))
    AppriseAddress("apprise:1", at(server), ORIGIN).send(
        notice(condition(severity="critical"), kind=kind), timeout_seconds=5
    )
    assert server.received[0].json["type"] == expected


def test_a_notice_arrives_by_mail(servers: Servers) -> None:
    server = servers.start()
    address = f"mailto://127.0.0.1:{server.port}?from=robot@example.org&to=ann@example.org&mode=insecure"
    AppriseAddress("apprise:1", address, ORIGIN).send(notice(), timeout_seconds=5)
    (mail,) = server.mails
    assert mail["Subject"] == "Warning: About quality [staging on box-7]"
    assert "It is bad." in mail.as_string()


def test_an_address_that_fails_is_tried_again_and_the_others_are_not(receive: Receive, tmp_path: Path) -> None:
    good, bad = receive(status(200)), receive(status(500))
    channels, file, known = channels_of(told(at(good), at(bad)), ""), AlertFile(tmp_path), policy(*receivers_of(2))
    first = tell(file, Assessment((condition(),)), channels, policy=known, limits=QUICK, clock=lambda: NOW)
    assert [tried.channel for tried in first.sent] == ["apprise:1"]
    assert [tried.channel for tried in first.failed] == ["apprise:2"]
    bad.answer = status(200)
    later = file.read().outbox[0].next_try
    assert len(deliver(file, channels, policy=known, limits=QUICK, clock=lambda: later).sent) == 1
    assert (len(good.received), len(bad.received)) == (1, 2)


def receivers_of(number: int) -> list[str]:
    return list(receivers(told(*["json://x"] * number)))


def test_the_receivers_are_counted_in_the_order_of_their_addresses() -> None:
    assert receivers_of(3) == ["apprise:1", "apprise:2", "apprise:3"]
    assert list(channels_of(told("json://a", "json://b"), "")) == ["apprise:1", "apprise:2"]


@pytest.mark.parametrize("answer", [hang, drip])
def test_a_service_that_hangs_or_drips_costs_no_more_than_the_deadline(receive: Receive, answer: Any) -> None:
    server = receive(answer)
    AppriseAddress("apprise:1", at(server), ORIGIN).check()  # loading Apprise takes its time, but once
    began = time.monotonic()
    refusal(at(server), seconds=0.5)
    assert time.monotonic() - began < 3


def test_a_redirect_is_not_followed(receive: Receive) -> None:
    elsewhere = receive(status(200))
    server = receive(status(302, Location=elsewhere.url()))
    assert not refusal(at(server)).permanent
    assert elsewhere.received == []


@pytest.mark.parametrize("address", [f"nonsense://{CANARY}", f"json://%zz:999999/{CANARY}", CANARY])
def test_an_address_that_apprise_does_not_understand_is_said_by_its_number(address: str) -> None:
    assert "apprise:1" in str(refusal(address))
    assert refusal(address).permanent
    said = problems(told("json://localhost", address))
    assert list(said) == ["apprise:2"]
    assert CANARY not in said["apprise:2"]


def test_without_an_address_that_is_said() -> None:
    assert problems(NotificationSettings(enabled=True, apprise=AppriseSettings(enabled=True))) == {
        "apprise:1": "APPRISE_URLS is not set. Set it, or turn notifications.apprise off."
    }


def test_a_process_that_sends_nothing_loads_no_apprise() -> None:
    code = (
        "import sys; from openaq_pipeline.monitoring.channels import channels_of, receivers\n"
        "from openaq_pipeline.settings import AppriseSettings, NotificationSettings\n"
        "told = NotificationSettings(enabled=True, apprise=AppriseSettings(enabled=True, urls='json://x json://y'))\n"
        "assert len(channels_of(told, '')) == len(receivers(told)) == 2\n"
        "sys.exit('apprise' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "dataset")}, check=False)
    assert done.returncode == 0


def test_no_address_is_in_log_error_or_book_whatever_the_service_does(
    receive: Receive, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    caplog.set_level(logging.WARNING, "urllib3")  # as the program has it
    file = AlertFile(tmp_path)
    seen: list[Tried] = []
    for number, answer in enumerate([status(500, CANARY), status(302, Location=f"/{CANARY}"), hang, None]):
        port = receive(answer).port if answer else free_port()
        address = f"json://joe:{CANARY}@127.0.0.1:{port}/{CANARY}?+X-Token={CANARY}"
        channels: dict[str, Sender] = channels_of(told(address, f"nonsense://{CANARY}"), "")
        key = condition(f"k{number}")
        seen += tell(
            file, Assessment((key,)), channels, policy=policy(*channels), limits=QUICK, clock=lambda: NOW
        ).tried
    assert len(seen) >= 8
    assert CANARY not in caplog.text + repr(seen) + (tmp_path / ".alerts.json").read_text()


def test_each_address_and_each_token_in_it_is_hidden_from_all_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redact, "_secrets", set())
    monkeypatch.setattr(redact, "_redactor", redact.Redactor())
    addresses = ("slack://TokenAAAA/TokenBBBBBBBB", "tgram://123456789:AAF8secret/chatroomnumber", "json://localhost/x")
    pipeline_log.hide(Settings(locations=[1], data_dir=tmp_path, notifications=told(*addresses)))
    for part in (*addresses, "TokenAAAA", "TokenBBBBBBBB", "123456789", "AAF8secret"):
        assert part not in redact.clean(f"x {part} y"), part
    assert redact.clean("see http://localhost:8765") == "see http://localhost:8765"


def test_apprise_is_not_heard_whatever_the_level(receive: Receive, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "apprise")
    refusal(at(receive(status(500))))
    assert [record for record in caplog.records if record.name.startswith("apprise")] == []
