"""Secrets are found in every form in which libraries write them, and nothing in a text can forge a line."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from openaq_pipeline import redact
from openaq_pipeline.errors import PipelineError, RetriableError, StorageError
from openaq_pipeline.monitoring.delivery import cleaned
from openaq_pipeline.redact import MASK, Redactor, hide, many_lines, one_line
from openaq_pipeline.reports import Condition, Notice
from openaq_pipeline.section import Section
from openaq_pipeline.settings import FileSettings, secrets_of

SECRET = 'p@ss wörd/+"x\\7'  # noqa: S105
HOOK = "https://joe:hunter22@hooks.example.com/services/T00000000/B00000000/abcDEFghiJKLmnoPQRstuvwx?token=12345#part"


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        json.dumps(SECRET)[1:-1],
        repr(SECRET)[1:-1],
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_secret_is_found_in_every_way_of_writing_it(form: str) -> None:
    assert Redactor([SECRET])(f"before {form} behind") == f"before {MASK} behind"


@pytest.mark.parametrize("user", ["", "u", "us", "user", "somebody"])
def test_a_password_is_found_inside_the_base64_of_a_login(user: str) -> None:
    for login in (f"{user}:{SECRET}", f"\0{user}\0{SECRET}", f"{user}:{SECRET}!"):
        encoded = base64.b64encode(login.encode()).decode()
        cleaned = Redactor([SECRET])(f"Authorization: Basic {encoded}")
        assert MASK in cleaned
        left = cleaned.split(MASK)
        assert len("".join(left)) < len("Authorization: Basic ") + len(encoded) - 12


@pytest.mark.parametrize(
    "said",
    [
        HOOK,
        "Max retries exceeded with url: /services/T00000000/B00000000/abcDEFghiJKLmnoPQRstuvwx?token=12345",
        "POST /services/T00000000/B00000000/abcDEFghiJKLmnoPQRstuvwx HTTP/1.1",
        "the token abcDEFghiJKLmnoPQRstuvwx",
        "?token=12345",
        "joe:hunter22@",
    ],
)
def test_of_an_address_only_the_host_may_be_read(said: str) -> None:
    cleaned = Redactor([HOOK])(said)
    for secret in ("abcDEF", "token=12345", "hunter22"):
        assert secret not in cleaned


def test_the_host_of_an_address_stays_readable() -> None:
    assert "hooks.example.com" in Redactor([HOOK])("No answer from hooks.example.com")


@pytest.mark.parametrize("nothing", [[], [""], ["https://"], ["http://[bad"], ["https://example.org/"], ["abc"]])
def test_what_is_no_secret_garbles_nothing(nothing: list[str]) -> None:
    text = "an abc of ordinary words / with slashes"
    assert Redactor(nothing)(text) == text


def test_every_secret_of_the_settings_is_known() -> None:
    given_secrets = {
        "api": {"api_key": "canary-key"},
        "monitoring": {"heartbeat_url": "https://hc.example/canary-heartbeat"},
        "notifications": {
            "slack": {"webhook_url": "https://slack.example/canary-slack"},
            "email": {"password": "canary-password"},
            "webhook": {"url": "https://hook.example/canary-hook", "secret": "canary-secret"},
        },
    }
    found = set(secrets_of(FileSettings.model_validate(given_secrets)))
    assert {secret.rpartition("canary")[2] for secret in found} == {
        *("-key", "-heartbeat", "-slack", "-password", "-hook", "-secret")
    }


def test_no_setting_that_sounds_secret_is_kept_in_the_open() -> None:
    def names(model: type[FileSettings], path: str = "") -> list[str]:
        found = []
        for name, field in model.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, Section):
                found += names(kind, f"{path}{name}.")  # type: ignore[arg-type]
            elif any(word in name for word in ("key", "secret", "password", "webhook_url", "token")) and (
                kind != SecretStr | None
            ):
                found.append(path + name)
        return found

    assert names(FileSettings) == []


@given(
    st.text(alphabet="abc \n\r\x1b\x00\x85\u2028\u202e\tä", max_size=30),
)
def test_no_text_makes_a_second_line_or_moves_the_cursor(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1
    assert one_line(text).isprintable()
    assert len(one_line(text)) == len(text), "nothing is dropped, so nothing is hidden"
    assert all(line.isprintable() for line in many_lines(text).split("\n"))


@given(st.text(min_size=8, max_size=20), st.text(max_size=10), st.text(max_size=10))
def test_no_secret_of_some_length_survives(secret: str, before: str, behind: str) -> None:
    cleaned = Redactor([secret])(f"{before}{secret}{behind}")
    assert MASK in cleaned
    assert secret not in cleaned.replace(MASK, "\0") or secret in MASK


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://postgres:hunt%2Fer22@db.example.com:5432/openaq",
        "postgres://db.example.com/openaq?user=postgres&password=hunt%2Fer22",
        "host=db.example.com user=postgres password=hunt/er22 dbname=openaq",
        "password = 'hunt/er22' host=db.example.com user=postgres dbname=openaq",
    ],
)
def test_of_a_database_address_the_password_is_hidden_and_its_common_words_are_not(address: str) -> None:
    said = f"postgres at db.example.com, database openaq: hunt/er22 refused ({address})"
    assert Redactor([address])(said) == f"postgres at db.example.com, database openaq: {MASK} refused ({MASK})"


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(redact, "_secrets", set())
    monkeypatch.setattr(redact, "_redactor", Redactor())
    hide([SECRET])
    return SECRET


def test_no_error_holds_a_secret_whatever_it_is_made_of(hidden: str) -> None:
    for kind in (PipelineError, RetriableError, StorageError):
        error = kind(f"told {hidden}", hint=f"look at {quote(hidden)}")
        assert (str(error), error.hint) == (f"told {MASK}", f"look at {MASK}")
        assert error.advice == f"told {MASK}. look at {MASK}"


def test_no_error_moves_the_cursor() -> None:
    assert str(PipelineError("a name\x1b[2J")) == "a name [2J"


def test_a_notice_is_cleaned_before_any_channel_sees_it(hidden: str) -> None:
    condition = Condition("key", "warning", f"title {hidden}", f"said {hidden}", f"hint {hidden}")
    notice = cleaned(Notice("id", "begun", condition, datetime(2026, 11, 23, tzinfo=UTC)))
    assert hidden not in repr(notice)
    assert notice.condition.title == f"title {MASK}"
