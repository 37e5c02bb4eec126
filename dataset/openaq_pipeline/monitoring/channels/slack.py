"""Alerts to a Slack channel, as Block Kit."""

from __future__ import annotations

import http.client
import logging
import ssl
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

from openaq_pipeline.errors import DeliveryError
from openaq_pipeline.monitoring.channels import wording
from openaq_pipeline.monitoring.channels.deadline import Cutter, cutting
from openaq_pipeline.monitoring.channels.posting import Address, check_status, is_loopback, parse, unreachable
from openaq_pipeline.monitoring.channels.wording import Origin
from openaq_pipeline.reports import Notice
from openaq_pipeline.settings import SlackSettings

if TYPE_CHECKING:
    from slack_sdk.webhook import WebhookClient

SECTION_CHARACTERS = 2900
"""Slack takes 3,000 in a section."""

REASONS = {
    "invalid_payload": "it does not understand the message",
    "invalid_token": "the address is not valid",
    "action_prohibited": "an administrator forbids it",
    "channel_not_found": "the channel is gone",
    "channel_is_archived": "the channel is archived",
    "no_service": "the webhook was removed",
    "no_team": "the workspace is gone",
    "rollup_error": "it has a problem",
}
"""What Slack's own words mean; other words are not repeated, because an answer may quote the secret address."""


class Slack:
    """Sends notices to one incoming webhook. `tls` None trusts what the system trusts."""

    def __init__(self, settings: SlackSettings, origin: Origin, *, tls: ssl.SSLContext | None = None) -> None:
        self._address = slack_address(settings)
        self._url = settings.webhook_url.get_secret_value().strip() if settings.webhook_url else ""
        self._origin, self._tls = origin, tls

    def send(self, notice: Notice, *, timeout_seconds: float) -> None:
        """Post a notice; raises `DeliveryError`."""
        who = f"Slack ({self._address.host})"
        with cutting(timeout_seconds) as cutter:
            client = _client(self._url, timeout_seconds, cutter, self._tls or ssl.create_default_context())
            try:
                answer = client.send_dict(message(notice, self._origin))
                cutter.check()
            except (OSError, http.client.HTTPException) as error:
                raise unreachable(who, error, out_of_time=cutter.is_cut) from None
        check_status(answer.status_code, who, REASONS.get(answer.body.strip(), ""))


def slack_address(settings: SlackSettings) -> Address:
    """Return where to post; raises `DeliveryError` for an address that can't be used."""
    if settings.webhook_url is None or not settings.webhook_url.get_secret_value():
        raise DeliveryError("SLACK_WEBHOOK_URL is not set", permanent=True, hint="Set it, or turn Slack off.")
    return parse(settings.webhook_url.get_secret_value(), "SLACK_WEBHOOK_URL", allow_plain=is_loopback)


def message(notice: Notice, origin: Origin) -> dict[str, Any]:
    """Return a notice as Block Kit. All of it is plain text, and escaped: nothing in it can mention or link."""
    headline = wording.headline(notice, origin)
    week = "\n".join(wording.digest_lines(notice.digest)) if notice.digest else ""
    paragraphs = [text for text in (wording.body(notice), week[:SECTION_CHARACTERS], wording.hint(notice)) if text]
    facts = [f"{name}: {value}" for name, value in wording.facts(notice, origin)]
    return {
        "text": escape(headline),  # what notifications and screen readers use
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            {"type": "header", "text": _plain(f"{wording.mark(notice)} {_short(headline, 120)}")},
            *({"type": "section", "text": _plain(paragraph)} for paragraph in paragraphs),
            {"type": "context", "elements": [_plain(fact) for fact in facts]},
        ],
    }


def escape(text: str) -> str:
    """Return a text in which Slack finds no mention, link or channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": escape(text), "emoji": True}


def _short(text: str, limit: int) -> str:
    """Return a text that fits a header, which takes 150 characters."""
    return wording.one_line(text, limit)


def _client(url: str, timeout_seconds: float, cutter: Cutter, tls: ssl.SSLContext) -> WebhookClient:
    """Return Slack's client without its retries, its redirects and its log, which would hold the secret address."""
    from slack_sdk.webhook import WebhookClient, WebhookResponse  # noqa: PLC0415 - 50 ms that few runs need

    class Client(WebhookClient):
        def _perform_http_request_internal(self, url: str, req: urllib.request.Request) -> WebhookResponse:
            try:
                with _opener(self.proxy, cutter, tls).open(req, timeout=timeout_seconds) as answer:
                    return _answer(url, answer)
            except HTTPError as error:
                with error:
                    return _answer(url, error)

    def _answer(url: str, answer: Any) -> WebhookResponse:
        body = answer.read(1000).decode(errors="replace")
        return WebhookResponse(url=url, status_code=answer.status, body=body, headers={})

    silent = logging.Logger("slack", level=logging.CRITICAL + 1)  # noqa: LOG001 - no other logger is to hear it
    return Client(url, timeout=max(1, int(timeout_seconds)), ssl=tls, logger=silent, retry_handlers=[])


def _opener(proxy: str | None, cutter: Cutter, tls: ssl.SSLContext) -> urllib.request.OpenerDirector:
    """Return an opener that knows proxies and errors but no redirect, and whose sockets are watched."""
    opener = urllib.request.OpenerDirector()
    opener.add_handler(urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else {}))
    opener.add_handler(urllib.request.HTTPDefaultErrorHandler())
    opener.add_handler(urllib.request.HTTPErrorProcessor())
    opener.add_handler(_Watched(cutter))
    opener.add_handler(_WatchedTls(cutter, tls))
    return opener


class _Watched(urllib.request.HTTPHandler):
    def __init__(self, cutter: Cutter) -> None:
        super().__init__()
        self._cutter = cutter

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        cutter = self._cutter

        class Connection(http.client.HTTPConnection):
            def connect(self) -> None:
                super().connect()
                cutter.watch(self.sock)

        return self.do_open(Connection, req)


class _WatchedTls(urllib.request.HTTPSHandler):
    def __init__(self, cutter: Cutter, tls: ssl.SSLContext) -> None:
        super().__init__(context=tls)
        self._cutter, self._tls = cutter, tls

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        cutter = self._cutter

        class Connection(http.client.HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                cutter.watch(self.sock)

        return self.do_open(Connection, req, context=self._tls)
