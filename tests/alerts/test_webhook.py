"""The webhook: signed JSON to the right address only, whatever the receiver does."""

from __future__ import annotations

import hashlib
import hmac
import ssl
import time
from typing import Any

import pytest
from pydantic import SecretStr

from openaq_pipeline.errors import DeliveryError
from openaq_pipeline.monitoring.channels.posting import is_public
from openaq_pipeline.monitoring.channels.webhook import Webhook
from openaq_pipeline.settings import WebhookSettings
from tests.alerts.conftest import Receive
from tests.alerts.parts import ORIGIN, Answer, condition, drip, free_port, hang, notice, status


def webhook(url: str, *, secret: str | None = None, allow_private: bool = True, **parts: Any) -> Webhook:
    settings = WebhookSettings(
        enabled=True, url=SecretStr(url), secret=SecretStr(secret) if secret else None, allow_private=allow_private
    )
    return Webhook(settings, ORIGIN, **parts)


def refusal(sender: Webhook, seconds: float = 2) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        sender.send(notice(), timeout_seconds=seconds)
    return caught.value


def test_the_receiver_gets_the_whole_notice_as_json(receive: Receive) -> None:
    server = receive(status(204, ""))
    webhook(server.url("/a/b?c=d")).send(notice(kind="recovered"), timeout_seconds=5)
    (got,) = server.received
    assert got.path == "/a/b?c=d"
    assert got.json == {
        "id": "id-1",
        "kind": "recovered",
        "key": "quality",
        "severity": "warning",
        "title": "About quality",
        "message": "It is bad.",
        "hint": "Look at it.",
        "began": "2026-11-01T12:00:00Z",
        "ended": "2026-11-01T12:00:00Z",
        "provider": "",
        "count": 1,
        "members": [],
        "digest": None,
        "environment": "staging",
        "host": "box-7",
    }
    assert got.headers["content-type"] == "application/json"
    assert got.headers["idempotency-key"] == "id-1"


def test_with_a_secret_the_body_is_signed(receive: Receive) -> None:
    server = receive(status(200))
    sender = webhook(server.url(), secret="key-µ")  # noqa: S106 - of this test
    sender.send(notice(condition(message="µg/m³ <b>")), timeout_seconds=5)
    (got,) = server.received
    expected = hmac.new("key-µ".encode(), got.body, hashlib.sha256).hexdigest()
    assert got.headers["x-signature-256"] == f"sha256={expected}"


def test_without_a_secret_there_is_no_signature(receive: Receive) -> None:
    server = receive(status(200))
    webhook(server.url()).send(notice(), timeout_seconds=5)
    assert "x-signature-256" not in server.received[0].headers


@pytest.mark.parametrize(
    ("code", "permanent"), [(500, False), (503, False), (429, False), (408, False), (404, True), (400, True)]
)
def test_an_answer_says_whether_another_try_makes_sense(receive: Receive, code: int, permanent: bool) -> None:
    error = refusal(webhook(receive(status(code)).url()))
    assert str(error) == f"The webhook receiver 127.0.0.1 answered {code}"
    assert error.permanent is permanent


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receive: Receive, code: int) -> None:
    other = receive(status(200))
    error = refusal(webhook(receive(status(code, Location=other.url())).url()))
    assert error.permanent
    assert "redirect" in str(error)
    assert other.received == []


@pytest.mark.parametrize("answer", [hang, drip])
def test_a_receiver_that_hangs_or_drips_costs_no_more_than_the_deadline(receive: Receive, answer: Answer) -> None:
    began = time.monotonic()
    error = refusal(webhook(receive(answer).url()), seconds=0.4)
    assert str(error) == "The webhook receiver 127.0.0.1 did not answer in time"
    assert not error.permanent
    assert time.monotonic() - began < 6


def test_nobody_there_is_tried_again() -> None:
    error = refusal(webhook(f"http://127.0.0.1:{free_port()}/x"))
    assert str(error) == "The webhook receiver 127.0.0.1 can't be reached: Connection refused"
    assert not error.permanent


def test_what_is_no_http_is_tried_again(receive: Receive) -> None:
    def rubbish(handler: Any, _receiver: object) -> None:
        handler.wfile.write(b"220 mail.example ESMTP\r\n")

    error = refusal(webhook(receive(rubbish).url()))
    assert not error.permanent


# --- which addresses ---

PRIVATE = [
    "127.0.0.1", "127.8.9.1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "100.127.255.255", "0.0.0.0",  # noqa: S104 - not bound to
    "192.0.0.192", "168.63.129.16", "192.88.99.1", "100.100.100.200",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.0.1", "198.18.0.1",
    "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1",
    "2002:7f00:1::", "2002:c0a8:101::1", "2001:db8::1", "2001::1", "3fff::1", "::ffff:192.0.0.192", "fd00:ec2::254",
]  # fmt: skip


@pytest.mark.parametrize("ip", PRIVATE)
def test_an_address_that_leads_inside_is_not_public(ip: str) -> None:
    assert not is_public(ip)


@pytest.mark.parametrize(
    "ip", ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_an_address_of_the_open_internet_is_public(ip: str) -> None:
    assert is_public(ip)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.1.2.3", "[::1]", "[::ffff:127.0.0.1]", "localhost", "2130706433", "0x7f.1", "0"]
)
def test_nothing_is_posted_into_a_private_network_by_any_name(receive: Receive, host: str) -> None:
    server = receive(status(200))
    error = refusal(webhook(f"https://{host}:{server.port}/hook", allow_private=False))
    assert error.permanent
    assert "is in a private network" in str(error)
    assert "allow_private" in error.hint
    assert server.received == []


def test_one_private_address_among_public_ones_turns_the_receiver_away() -> None:
    sender = webhook(
        "https://mixed.example/x", allow_private=False, resolve=lambda _host, _port: ["1.1.1.1", "10.0.0.1"]
    )
    assert "private network" in str(refusal(sender))


def test_the_connection_goes_to_the_address_that_was_checked(
    receive: Receive, server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    server = receive(status(200), server_tls)
    asked = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    # `localhost` stands in the certificate; the name is never looked up by anybody else
    webhook(f"https://localhost:{server.port}/x", resolve=resolve, tls=trusting).send(notice(), timeout_seconds=5)
    assert asked == [("localhost", server.port)]
    assert len(server.received) == 1
    assert server.received[0].headers["host"] == f"localhost:{server.port}"


def test_a_certificate_for_another_name_is_refused(
    receive: Receive, server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    server = receive(status(200), server_tls)
    sender = webhook(f"https://other.example:{server.port}/x", resolve=lambda *_: ["127.0.0.1"], tls=trusting)
    assert "can't be reached" in str(refusal(sender))
    assert server.received == []


def test_a_certificate_that_nobody_vouches_for_is_refused(receive: Receive, server_tls: ssl.SSLContext) -> None:
    server = receive(status(200), server_tls)
    assert "certificate" in str(refusal(webhook(f"https://localhost:{server.port}/x")))
    assert server.received == []


def test_the_next_address_is_tried_when_one_refuses(receive: Receive) -> None:
    server = receive(status(200))
    found = ["127.0.0.9", "127.0.0.1"]  # the receiver listens on the second only
    webhook(f"http://twins.example:{server.port}/x", resolve=lambda *_: found).send(notice(), timeout_seconds=5)
    assert len(server.received) == 1


def test_a_name_that_does_not_exist_is_tried_again() -> None:
    error = refusal(webhook("https://nowhere.invalid/x", allow_private=False))
    assert not error.permanent
    assert "nowhere.invalid can't be reached" in str(error)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://hooks.example/SECRET", "must begin with https://"),
        ("https://user:SECRET@hooks.example/x", "must not hold a user name or password"),
        ("https://@hooks.example/SECRET", "must not hold a user name or password"),
        ("ftp://hooks.example/SECRET", "is no web address"),
        ("hooks.example/SECRET", "is no web address"),
        ("https://hooks.example:99999/SECRET", "is no web address"),
        ("https://[::1/SECRET", "is no web address"),
        ("https://hooks.example/SECRET\r\nX-Forged: 1", "is no web address"),
        ("https:///SECRET", "is no web address"),
    ],
)
def test_an_address_that_is_none_is_refused_without_showing_it(url: str, problem: str) -> None:
    with pytest.raises(DeliveryError) as caught:
        webhook(url, allow_private=False)
    assert str(caught.value) == f"WEBHOOK_URL {problem}"
    assert caught.value.permanent
