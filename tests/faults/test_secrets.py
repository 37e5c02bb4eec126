"""Canary secrets through faults at DEBUG, and through servers that repeat what they are told: nothing comes out."""

from __future__ import annotations

import base64
import io
import json
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from pydantic import SecretStr

from openaq_pipeline.cli import show
from openaq_pipeline.monitoring import log as pipeline_log
from openaq_pipeline.monitoring.metrics import metrics_of
from openaq_pipeline.openaq import session
from openaq_pipeline.overview import overview
from openaq_pipeline.reports import RunReport
from openaq_pipeline.settings import (
    AppriseSettings,
    EmailSettings,
    MonitoringSettings,
    NotificationSettings,
    PostgresSettings,
    Settings,
    SlackSettings,
    StorageSettings,
    WebhookSettings,
)
from openaq_pipeline.watch import after_poll
from tests.faults import manners
from tests.faults.conftest import Tally, Times
from tests.faults.faulty import Exchange
from tests.faults.net import KEY, LAST, LATER, Bench, bench, copied, name_of

WORDS = ("canary-0123456789abcdef", "canary-slack", "canary-hook", "canary-token", "canary-sign", "canary-mail")
WORDS_TOO = ("canary-heart", "canary-dsn", "canary-apprise", "canary-user", "canary-pass")
FORBIDDEN = [
    form for word in (*WORDS, *WORDS_TOO) for form in (word, base64.b64encode(word.encode()).decode().rstrip("="))
]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("old")) as made:
        yield made


@pytest.fixture
def made(old: Bench, tmp_path: Path) -> Iterator[Bench]:
    with copied(old, tmp_path) as found:
        yield found


class Repeating:
    """A receiver of alerts that answers with all that it was sent, in the status line, the headers and the body."""

    def __init__(self, greeting: bytes = b"") -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.heard = b""
        self._greeting = greeting
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                with connection, suppress(OSError):
                    self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        connection.settimeout(2)
        if self._greeting:  # a mail server repeats each line, and refuses it
            connection.sendall(b"220 canary\r\n")
            while said := connection.recv(65536):
                self.heard += said
                code = b"250-hello\r\n250-AUTH PLAIN LOGIN\r\n250" if said[:4].upper() == b"EHLO" else b"535"
                connection.sendall(code + b" refused: " + said.strip() + b"\r\n")
            return
        said = connection.recv(65536)
        self.heard += said
        line = said.split(b"\r\n")[0]
        connection.sendall(
            b"HTTP/1.1 403 %b\r\nX-Told: %b\r\nContent-Length: %d\r\n\r\n" % (line, line, len(said)) + said
        )

    def close(self) -> None:
        self._listening.close()


@contextmanager
def receivers() -> Iterator[tuple[Repeating, Repeating]]:
    web, mail = Repeating(), Repeating(b"220")
    try:
        yield web, mail
    finally:
        web.close()
        mail.close()


def with_secrets(settings: Settings, web: int, mail: int) -> Settings:
    """Return settings with a canary wherever a secret can stand, and every channel on."""
    notifications = NotificationSettings(
        enabled=True,
        slack=SlackSettings(enabled=True, webhook_url=SecretStr(f"http://127.0.0.1:{web}/services/canary-slack")),
        email=EmailSettings.model_validate(
            {
                "enabled": True,
                "host": "127.0.0.1",
                "port": mail,
                "username": "somebody",
                "password": "canary-mail",
                "from": "a@b.example",
                "to": ["c@d.example"],
                "security": "none",
            }
        ),
        webhook=WebhookSettings(
            enabled=True,
            url=SecretStr(f"http://127.0.0.1:{web}/hook/canary-hook?token=canary-token"),
            secret=SecretStr("canary-sign"),
            allow_private=True,
        ),
        apprise=AppriseSettings(
            enabled=True,
            urls=SecretStr(
                f"json://canary-user:canary-pass@127.0.0.1:{web}/canary-apprise "
                f"mailto://canary-user:canary-pass@127.0.0.1:{mail}?from=a@b.example&to=c@d.example&mode=insecure"
            ),
        ),
    )
    return settings.model_copy(
        update={
            "notifications": notifications,
            "monitoring": MonitoringSettings(
                log_level="DEBUG", heartbeat_url=SecretStr("http://127.0.0.1:9/canary-heart")
            ),
            "storage": StorageSettings(
                postgres=PostgresSettings(dsn=SecretStr("postgresql://joe:canary-dsn@127.0.0.1:9/x"))
            ),
        }
    )


@contextmanager
def logging_everything(settings: Settings) -> Iterator[io.StringIO]:
    """Log as the program does at DEBUG, to a text and to the log file; put everything back."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    said = io.StringIO()
    pipeline_log.set_up(settings, to_file=True, stream=said)
    try:
        yield said
    finally:
        for handler in root.handlers[:]:
            root.removeHandler(handler)
        for handler in before:
            root.addHandler(handler)
        root.setLevel(level)
        logging.captureWarnings(capture=False)
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


def told(made: Bench, settings: Settings, report: RunReport) -> str:
    """Return all that a run tells: its report for people and for programs, the monitor, and every file."""
    texts = [
        show.report(report, settings.data_dir),
        msgspec.json.encode(metrics_of(report)).decode(),
        msgspec.json.encode(overview(settings, made.simulator.clock.now(), shown_runs=100)).decode(),
    ]
    files = (path for path in settings.data_dir.rglob("*") if path.is_file())
    return "\n".join([*texts, *(path.read_bytes().decode(errors="replace") for path in files)])


def assert_silent(text: str, where: str) -> None:
    lowered = text.lower()
    for form in FORBIDDEN:
        place = lowered.find(form.lower())
        assert place < 0, f"{where}: {text[max(0, place - 200) : place + 100]!r}"


def spreads_nothing(made: Bench, monkeypatch: pytest.MonkeyPatch) -> Repeating:
    """Do a run with its alerts, and assert that no secret is in anything it says or writes. Return the web receiver."""
    real = made.settings
    with receivers() as (web, mail):
        monkeypatch.setattr(made, "settings", lambda *args: with_secrets(real(*args), web.port, mail.port))
        settings = made.settings(made.folder)
        with logging_everything(settings) as said:
            report = made.poll(LATER)
            after_poll(settings, report, made.simulator.clock.now())
        assert_silent(said.getvalue(), "the console")
        assert_silent(told(made, settings, report), "a report or a file")
    return web


FAULTS = (manners.silence, manners.drip, *manners.CUT, *manners.SWAPPED, *manners.LARGE)


def test_no_secret_comes_out_through_a_broken_answer(
    old: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally, times: Times
) -> None:
    monkeypatch.setattr(session, "MAX_BODY_BYTES", 1_000_000)
    chosen = FAULTS[:: times(5, 1)]
    for manner in chosen:
        with copied(old, tmp_path / name_of(manner)) as made, monkeypatch.context() as patch:
            made.server.arm(manner, made.page)
            spreads_nothing(made, patch)
    tally(28, "canary secrets through a faulty server at DEBUG", len(chosen))


# --- a server that repeats what it is told ---


def forms(key: str) -> dict[str, str]:
    return {
        "plain": key,
        "escaped": "".join(f"\\u{ord(letter):04x}" for letter in key),
        "base64": base64.b64encode(key.encode()).decode(),
        "base64 of a login": base64.b64encode(b"joe:" + key.encode()).decode(),
    }


def refusing(status: int) -> Callable[[Exchange], bool]:
    def manner(to: Exchange) -> bool:
        said = " and ".join(forms(KEY).values())
        body = f'{{"detail": "{said}", "message": "{said}"}}'.encode()
        return to.reply(body, status, X_Told=said, Location=f"http://127.0.0.1:9/{quote(said)}")

    return manner


@pytest.mark.parametrize("status", [302, 401, 403, 404, 408, 422, 429, 500, 503])
def test_a_server_that_repeats_the_key_in_its_refusals_finds_no_ear(
    made: Bench, monkeypatch: pytest.MonkeyPatch, status: int, tally: Tally
) -> None:
    made.server.arm(refusing(status))
    spreads_nothing(made, monkeypatch)
    tally(28, "a server that repeats the key in its refusals", len(forms(KEY)))


def in_a_row(change: Callable[[dict[str, Any]], object]) -> Callable[[Exchange], bool]:
    def manner(to: Exchange) -> bool:
        page = json.loads(to.good()[1])
        for row in page["results"]:
            change(row)
        return to.reply(json.dumps(page).encode())

    return manner


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row.update(value=KEY),
        lambda row: row["parameter"].update(units=KEY),
        lambda row: row["period"].update(label=KEY),
    ],
)
def test_a_server_that_hides_the_key_in_its_rows_does_not_get_it_stored(
    made: Bench, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], object], tally: Tally
) -> None:
    made.server.arm(in_a_row(change), made.page)
    spreads_nothing(made, monkeypatch)
    made.server.clear()
    assert made.poll(LAST).complete
    tally(28, "a server that hides the key in its rows", 1)


def test_receivers_that_repeat_what_they_are_sent_are_not_quoted(
    made: Bench, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    made.server.arm(refusing(401))
    web = spreads_nothing(made, monkeypatch)
    assert b"canary-slack" in web.heard, "the alert was sent, and answered"
    assert b"canary-hook" in web.heard
    assert b"canary-apprise" in web.heard
    tally(28, "receivers of alerts that repeat all they are sent", 1)
