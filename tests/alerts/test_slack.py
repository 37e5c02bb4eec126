"""Slack: Block Kit in which nothing can mention or link, and answers that say what to do."""

from __future__ import annotations

import json
import ssl
import time
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from openaq_pipeline.errors import DeliveryError
from openaq_pipeline.monitoring.channels.slack import Slack, message
from openaq_pipeline.reports import Condition, Severity
from openaq_pipeline.settings import SlackSettings
from tests.alerts.conftest import Receive
from tests.alerts.parts import ORIGIN, Answer, condition, drip, free_port, hang, notice, status


def slack(url: str, tls: ssl.SSLContext | None = None) -> Slack:
    return Slack(SlackSettings(enabled=True, webhook_url=SecretStr(url)), ORIGIN, tls=tls)


def refusal(sender: Slack, seconds: float = 2) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        sender.send(notice(), timeout_seconds=seconds)
    return caught.value


def test_a_notice_arrives_as_block_kit_that_names_where_it_comes_from(receive: Receive) -> None:
    server = receive(status(200))
    slack(server.url()).send(notice(), timeout_seconds=5)
    (got,) = server.received
    assert [block["type"] for block in got.json["blocks"]] == ["header", "section", "section", "context"]
    assert got.json["text"] == "Warning: About quality [staging on box-7]"
    assert got.json["unfurl_links"] is got.json["unfurl_media"] is False
    shown = json.dumps(got.json["blocks"])
    for part in (":large_yellow_circle: Warning", "It is bad.", "Look at it.", "2026-11-01 12:00:00 UTC", "box-7"):
        assert part in shown


def test_it_goes_over_tls_to_a_name_in_a_trusted_certificate(
    receive: Receive, server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    server = receive(status(200), server_tls)
    slack(f"https://localhost:{server.port}/x", trusting).send(notice(), timeout_seconds=5)
    assert len(server.received) == 1
    assert "can't be reached" in str(refusal(slack(f"https://localhost:{server.port}/x")))
    assert "can't be reached" in str(refusal(slack(f"https://127.0.0.1:{server.port}/x", trusting)))
    assert len(server.received) == 1


@pytest.mark.parametrize("severity", get_args(Severity))
def test_each_level_has_its_word_and_its_colour(severity: Severity) -> None:
    header = message(notice(condition(severity=severity)), ORIGIN)["blocks"][0]["text"]["text"]
    others = {
        message(notice(condition(severity=other)), ORIGIN)["blocks"][0]["text"]["text"].split()[0]
        for other in get_args(Severity)
    }
    assert severity.capitalize() in header
    assert len(others) == 4


def test_a_recovery_says_so_and_gives_no_advice() -> None:
    told = message(notice(kind="recovered"), ORIGIN)
    assert told["text"].startswith("Recovered: ")
    assert ":large_green_circle:" in told["blocks"][0]["text"]["text"]
    assert "Look at it." not in json.dumps(told)


@given(st.text(), st.text(), st.text())
def test_nothing_in_a_notice_can_mention_link_or_break_slack_s_limits(title: str, said: str, hint: str) -> None:
    evil = "<!channel> <@U1> <https://evil.example|click> & "
    told = message(notice(Condition("k", "error", evil + title, evil * 40 + said, evil + hint)), ORIGIN)
    texts = [told["text"]]
    for block in told["blocks"]:
        for element in block.get("elements", [block.get("text")]):
            assert element["type"] == "plain_text"
            texts.append(element["text"])
    assert all("<" not in text and ">" not in text for text in texts)
    assert len(told["blocks"][-1]["elements"]) <= 10
    json.dumps(told)


@pytest.mark.parametrize(
    ("code", "text", "permanent", "said"),
    [
        (404, "no_service", True, "answered 404 (the webhook was removed)"),
        (403, "SECRET", True, "answered 403"),
        (410, "channel_is_archived", True, "answered 410 (the channel is archived)"),
        (429, "", False, "answered 429"),
        (500, "rollup_error", False, "answered 500 (it has a problem)"),
    ],
)
def test_an_answer_says_whether_another_try_makes_sense(
    receive: Receive, code: int, text: str, permanent: bool, said: str
) -> None:
    error = refusal(slack(receive(status(code, text)).url()))
    assert str(error) == f"Slack (127.0.0.1) {said}"
    assert error.permanent is permanent


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receive: Receive, code: int) -> None:
    other = receive(status(200))
    error = refusal(slack(receive(status(code, Location=other.url())).url()))
    assert error.permanent
    assert other.received == []


@pytest.mark.parametrize("answer", [hang, drip])
def test_a_slack_that_hangs_or_drips_costs_no_more_than_the_deadline(receive: Receive, answer: Answer) -> None:
    began = time.monotonic()
    error = refusal(slack(receive(answer).url()), seconds=0.4)
    assert str(error) == "Slack (127.0.0.1) did not answer in time"
    assert not error.permanent
    assert time.monotonic() - began < 6


def test_a_connection_that_breaks_is_left_to_the_next_pass(receive: Receive) -> None:
    server = receive(lambda _handler, _receiver: None)  # hangs up without a word
    error = refusal(slack(server.url()))
    assert not error.permanent
    assert len(server.received) == 1


def test_nobody_there_is_tried_again() -> None:
    error = refusal(slack(f"http://127.0.0.1:{free_port()}/x"))
    assert str(error) == "Slack (127.0.0.1) can't be reached: Connection refused"
    assert not error.permanent


@pytest.mark.parametrize(
    "url", ["http://hooks.slack.com/services/SECRET", "https://a:SECRET@hooks.slack.com/", "SECRET"]
)
def test_an_address_that_can_t_be_right_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(DeliveryError, match=r"^SLACK_WEBHOOK_URL ") as caught:
        slack(url)
    assert "SECRET" not in caught.value.advice
