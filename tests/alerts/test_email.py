"""Mail by a real server: encrypted, logged in, in text and HTML, and clear words when it does not go."""

from __future__ import annotations

import email
import email.policy
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from openaq_pipeline.errors import DeliveryError
from openaq_pipeline.monitoring.channels.email import Email, email_problem, message
from openaq_pipeline.reports import Condition
from openaq_pipeline.settings import EmailSettings
from tests.alerts.parts import ORIGIN, free_port, notice

PASSWORD = "right-password"  # noqa: S105 - of the test's own server


class Mailbox:
    """What a mail server keeps, and how it answers."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.encrypted: list[bool] = []
        self.answer = "250 OK"
        self.refused: dict[str, str] = {}

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Envelope, address: str, _options: Any) -> str:  # noqa: N802
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        assert isinstance(content, bytes)
        if self.answer.startswith("250"):
            self.mails.append(email.message_from_bytes(content, policy=email.policy.default))
            self.recipients.append(list(envelope.rcpt_tos))
            assert server.transport is not None
            self.encrypted.append(server.transport.get_extra_info("sslcontext") is not None)
        return self.answer


def _login(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"robot", PASSWORD.encode())
    return AuthResult(success=good, handled=False)


class MailServer(Mailbox):
    port: int


class Servers:
    """Starts mail servers on free ports of loopback."""

    def __init__(self, stack: ExitStack, tls: ssl.SSLContext) -> None:
        self._stack, self._tls = stack, tls

    def start(self, security: str = "none", *, login: bool = False) -> MailServer:
        made, port = MailServer(), free_port()
        controller = Controller(
            made,
            hostname="127.0.0.1",
            port=port,
            ssl_context=self._tls if security == "ssl" else None,
            auth_required=login,
            auth_require_tls=security == "starttls",
            authenticator=_login if login else None,
            tls_context=self._tls if security == "starttls" else None,
            require_starttls=security == "starttls",
        )
        controller.start()
        self._stack.callback(controller.stop, no_assert=True)
        made.port = port
        return made


@pytest.fixture
def servers(server_tls: ssl.SSLContext) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack, server_tls)


def settings(port: int | None = None, security: str = "none", **others: Any) -> EmailSettings:
    given = {"enabled": True, "host": "localhost", "port": port, "from": "Robot <robot@example.org>"}
    return EmailSettings.model_validate(given | {"to": ["ann@example.org"], "security": security} | others)


def logged_in(port: int, security: str, password: str = PASSWORD) -> EmailSettings:
    return settings(port, security, username="robot", password=SecretStr(password))


def refusal(sender: Email, seconds: float = 5) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        sender.send(notice(), timeout_seconds=seconds)
    return caught.value


# The server does not see that a socket that was encrypted from the beginning is.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")


@pytest.mark.parametrize("security", ["starttls", "ssl"])
def test_a_mail_arrives_encrypted_and_logged_in(servers: Servers, trusting: ssl.SSLContext, security: str) -> None:
    server = servers.start(security, login=True)
    Email(logged_in(server.port, security), ORIGIN, tls=trusting).send(notice(), timeout_seconds=5)
    (mail,) = server.mails
    assert server.encrypted == [True]
    assert mail["Subject"] == "Warning: About quality [staging on box-7]"
    assert mail["Message-ID"] == "<id-1@openaq-pipeline>"
    for kind in ("plain", "html"):
        part = mail.get_body((kind,))
        assert part is not None
        for expected in ("It is bad.", "Look at it.", "2026-11-01 12:00:00 UTC", "staging", "box-7", "warning"):
            assert expected in part.get_content()


@pytest.mark.parametrize("security", ["starttls", "ssl"])
def test_a_wrong_password_is_said_and_not_tried_again(
    servers: Servers, trusting: ssl.SSLContext, security: str
) -> None:
    server = servers.start(security, login=True)
    error = refusal(Email(logged_in(server.port, security, "wrong-SECRET"), ORIGIN, tls=trusting))
    assert str(error) == "The mail server localhost refused the login (535)"
    assert "SMTP_PASSWORD" in error.hint
    assert error.permanent
    assert server.mails == []


@pytest.mark.parametrize("security", ["starttls", "ssl"])
def test_no_password_goes_to_a_server_whose_certificate_is_not_trusted(servers: Servers, security: str) -> None:
    server = servers.start(security, login=True)
    error = refusal(Email(logged_in(server.port, security), ORIGIN))
    assert "certificate that can't be trusted" in str(error)
    assert server.mails == []


@pytest.mark.parametrize("security", ["starttls", "ssl"])
def test_a_certificate_for_another_name_is_refused(servers: Servers, trusting: ssl.SSLContext, security: str) -> None:
    server = servers.start(security, login=True)
    other = logged_in(server.port, security).model_copy(update={"host": "127.0.0.1"})
    assert "certificate that can't be trusted" in str(refusal(Email(other, ORIGIN, tls=trusting)))


def test_a_server_that_does_not_encrypt_gets_nothing_when_starttls_is_set(servers: Servers) -> None:
    server = servers.start("none")
    error = refusal(Email(settings(server.port, "starttls"), ORIGIN))
    assert "does not offer the encryption" in str(error)
    assert error.permanent
    assert server.mails == []


def test_without_encryption_all_recipients_get_the_mail(servers: Servers) -> None:
    server = servers.start()
    both = settings(server.port, to=["ann@example.org", "Bob <bob@example.org>"])
    Email(both, ORIGIN).send(notice(), timeout_seconds=5)
    assert server.recipients == [["ann@example.org", "bob@example.org"]]


@pytest.mark.parametrize(("answer", "permanent"), [("554 SECRET no", True), ("451 SECRET later", False)])
def test_a_refused_mail_is_tried_again_only_if_the_server_says_later(
    servers: Servers, answer: str, permanent: bool
) -> None:
    server = servers.start()
    server.answer = answer
    error = refusal(Email(settings(server.port), ORIGIN))
    assert str(error) == f"The mail server localhost refused the mail ({answer[:3]})"
    assert error.permanent is permanent


def test_a_recipient_that_is_refused_is_told_although_the_other_got_it(servers: Servers) -> None:
    server = servers.start()
    server.refused = {"bob@example.org": "550 no such user"}
    error = refusal(Email(settings(server.port, to=["ann@example.org", "bob@example.org"]), ORIGIN))
    assert str(error) == "The mail server refused 1 of 2 recipients (550)"
    assert error.permanent
    assert len(server.mails) == 1
    server.refused["ann@example.org"] = "450 later"
    error = refusal(Email(settings(server.port, to=["ann@example.org", "bob@example.org"]), ORIGIN))
    assert str(error) == "The mail server refused 2 of 2 recipients (450, 550)"
    assert not error.permanent


def test_nobody_there_is_tried_again() -> None:
    error = refusal(Email(settings(free_port()), ORIGIN))
    assert str(error) == "The mail server localhost can't be talked to: Connection refused"
    assert not error.permanent


@contextmanager
def slow_server(*, drips: bool) -> Iterator[int]:
    """Accept one connection, and greet it never, or a byte at a time."""
    over = threading.Event()

    def serve(listening: socket.socket) -> None:
        with suppress(OSError), listening.accept()[0] as connection:
            while not over.wait(0.05):
                connection.sendall(b"2" if drips else b"")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        yield listening.getsockname()[1]
        over.set()
        thread.join()


@pytest.mark.parametrize("drips", [False, True])
def test_a_mail_server_that_hangs_or_drips_costs_no_more_than_the_deadline(drips: bool) -> None:
    with slow_server(drips=drips) as port:
        began = time.monotonic()
        error = refusal(Email(settings(port), ORIGIN), seconds=0.4)
        assert time.monotonic() - began < 6
    assert str(error) == "The mail server localhost did not answer in time"
    assert not error.permanent


@given(st.text(), st.text())
def test_nothing_in_a_notice_becomes_a_header_or_a_tag(title: str, said: str) -> None:
    evil = "a\r\nBcc: eve@example.org\r\n\r\n<script>x</script>\x1b[31m"
    told = notice(Condition("k", "error", evil + title, evil + said, evil))
    mail = email.message_from_bytes(message(told, ORIGIN, settings()).as_bytes(), policy=email.policy.default)
    assert mail["Bcc"] is None
    assert sorted(mail.keys()) == [
        "Auto-Submitted",
        "Content-Type",
        "From",
        "MIME-Version",
        "Message-ID",
        "Subject",
        "To",
    ]
    html = mail.get_body(("html",))
    assert html is not None
    assert "<script" not in html.get_content()
    assert "\x1b" not in html.get_content()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"host": ""}, "SMTP_HOST is not set"),
        ({"to": []}, "names nobody"),
        ({"from": ""}, "from is not a mail address"),
        ({"from": "robot@example.org\r\nBcc: eve@example.org"}, "from is not a mail address"),
        ({"to": ["ann@example.org, eve@example.org"]}, "to holds something"),
        ({"to": ["ann"]}, "to holds something"),
        ({"username": "robot"}, "SMTP_PASSWORD is not"),
        ({"password": SecretStr("SECRET")}, "SMTP_USERNAME is not"),
        ({"host": "mail.example", "username": "robot", "password": SecretStr("SECRET")}, "unencrypted"),
    ],
)
def test_settings_that_can_t_work_are_told_before_anything_is_sent(changes: dict[str, Any], said: str) -> None:
    problem = email_problem(settings(**changes))
    assert problem is not None
    assert said in str(problem)
    assert "SECRET" not in problem.advice


def test_settings_that_can_work_have_no_problem() -> None:
    assert email_problem(settings(25)) is None
    assert email_problem(settings(None, "starttls", host="mail.example", username="a", password=SecretStr("b"))) is None
