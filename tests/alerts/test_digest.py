"""The look back at the week: its numbers, its picture, its ways to the people, and that it comes once a week."""

from __future__ import annotations

import base64
import io
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as settings_
from hypothesis import strategies as st
from PIL import Image

from openaq_pipeline import digest as digests
from openaq_pipeline.digest import made, note_digest, sentence
from openaq_pipeline.model import LocationState, Rhythm, SensorState
from openaq_pipeline.monitoring import history as runs
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.monitoring.alerts import Book, OpenCondition, PastCondition
from openaq_pipeline.monitoring.channels import slack
from openaq_pipeline.monitoring.channels.apprise import AppriseAddress
from openaq_pipeline.monitoring.channels.email import Email, html, message
from openaq_pipeline.monitoring.channels.webhook import payload
from openaq_pipeline.monitoring.delivery import deliver
from openaq_pipeline.monitoring.picture import CELL, HEAD, MARGIN, NAMES, ROW, SCALE, SHADES, WIDTH, drawn
from openaq_pipeline.monitoring.telling import Policy, digest_due, with_digest
from openaq_pipeline.monitoring.weekly import Weekly
from openaq_pipeline.reports import Condition, DigestAlert, DigestPlace, Notice
from openaq_pipeline.settings import NotificationSettings, Settings
from openaq_pipeline.storage.state import StateFile
from tests.alerts.conftest import Receive
from tests.alerts.parts import ORIGIN, condition, policy, status
from tests.alerts.samples import DAYS, DIGEST, MONDAY, SAID
from tests.alerts.test_apprise import at
from tests.alerts.test_delivery import Told
from tests.alerts.test_email import Servers, servers, settings
from tests.monitoring.runs import location as ran
from tests.monitoring.runs import run
from tests.reading.folders import describe, location, series, store

__all__ = ["servers"]  # the fixture of the tests of mail

WEEK = Weekly(0, 8, "UTC")
NOTICE = Notice("id-1", "digest", SAID, began=MONDAY, digest=DIGEST)


# --- when ---


def test_it_is_due_from_its_hour_on_by_the_clocks_of_the_zone() -> None:
    week = Weekly(0, 8, "Asia/Kathmandu")
    assert week.last(MONDAY) == datetime(2026, 11, 23, 2, 15, tzinfo=UTC)
    assert week.next(MONDAY) == datetime(2026, 11, 30, 2, 15, tzinfo=UTC)
    assert week.name(datetime(2026, 11, 23, 2, 14, tzinfo=UTC)) == "2026-W47"
    assert week.name(datetime(2026, 11, 23, 2, 15, tzinfo=UTC)) == "2026-W48"


moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - see `timezones`
weeklies = st.builds(
    Weekly, st.integers(0, 6), st.integers(0, 23), st.sampled_from(["UTC", "Europe/Paris", "Australia/Lord_Howe"])
)


@given(weeklies, moments)
def test_one_moment_follows_the_other_a_week_later(week: Weekly, now: datetime) -> None:
    last, following = week.last(now), week.next(now)
    assert last <= now < following
    assert timedelta(days=7, hours=-1) <= following - last <= timedelta(days=7, hours=1)
    assert week.last(following - timedelta(seconds=1)) == last
    assert week.last(following) == following
    assert week.name(following) != week.name(last)


@given(weeklies, st.lists(moments, max_size=30))
def test_whatever_the_clock_does_no_week_is_told_twice(week: Weekly, clock: list[datetime]) -> None:
    told = policy("slack", digest=week)
    book = Book(UUID(int=7), digests=("2019-W01",))
    for now in clock:
        for _ in range(2):
            book = with_digest(book, (sentence(DIGEST), DIGEST), now, told)
        assert digest_due(book.digests, now, told) is None
    assert len(book.outbox) == len({week.name(now) for now in clock})
    assert len({entry.notice.id for entry in book.outbox}) == len(book.outbox)


def test_nobody_is_told_who_wants_no_digest() -> None:
    book = Book(UUID(int=7), digests=("2019-W01",))
    assert digest_due(book.digests, MONDAY, policy("slack")) is None
    assert digest_due(book.digests, MONDAY, Policy({"slack": "warning"}, timedelta(), digest=WEEK)) is None


# --- its numbers ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two stations with two hourly sensors each; the second has half of its last day, and a sensor long dead."""
    begin = datetime(2026, 11, 15, 1, tzinfo=UTC)
    full, short = series(7, begin, 24 * 9), series(8, begin, 24 * 7 + 12)
    for number, rows in ((7, full), (8, short)):
        store(tmp_path, number, rows, None)
    describe(tmp_path, location(7), location(8, name="Thamel"))
    state, hourly = StateFile(tmp_path), Rhythm(3600)
    for number, rows in ((7, full), (8, short)):
        sensors = {number * 10 + place: SensorState(rows[-1].datetime, rhythm=hourly) for place in (1, 2)}
        if number == 8:
            sensors[99] = SensorState(begin - timedelta(days=60), rhythm=hourly)
        state.put(number, LocationState(MONDAY, MONDAY, sensors=sensors))
    state.save()
    for hours in (200, 100, 50, 2):
        runs.append(tmp_path, run(MONDAY - timedelta(hours=hours), ran(7), ran(8)), MONDAY)
    return tmp_path


def settings_of(folder: Path, **others: object) -> Settings:
    return Settings(
        locations=[7, 8],
        data_dir=folder,
        notifications=NotificationSettings.model_validate({"enabled": True, "slack": {"enabled": True}} | others),
    )


def test_its_numbers_are_those_of_the_files(folder: Path) -> None:
    past = PastCondition(condition(), MONDAY - timedelta(days=2), MONDAY - timedelta(days=1), told=True)
    old = msgspec.structs.replace(past, ended=MONDAY - timedelta(days=9))
    book = Book(UUID(int=7), open={"silent:8": OpenCondition(condition("silent:8"), MONDAY)}, past=(old, past))
    found = made(settings_of(folder), book, MONDAY)
    assert found.days == DAYS
    assert [(place.name, place.days) for place in found.places] == [
        ("Thamel (8)", (100, 100, 100, 100, 100, 100, 50)),
        ("Ratnapark (7)", (100,) * 7),
    ]
    assert (found.rows, found.locations) == (2 * (2 * 7 * 24) - 2 * 12, 2)
    assert found.completeness == pytest.approx(100 * (1 - 24 / (4 * 7 * 24)))
    assert (found.runs, found.requests, found.failed_runs, found.runs_since) == (2, 4, 0, None)
    assert [(alert.title, alert.ended) for alert in found.alerts] == [
        ("About silent:8", None),
        ("About quality", MONDAY - timedelta(days=1)),
    ]
    assert sentence(found).title == "96.4 % complete, 648 rows, 16 Nov to 22 Nov 2026"


def test_days_are_those_of_the_zone_and_one_of_25_hours_is_full_with_as_many_rows(folder: Path) -> None:
    found = made(settings_of(folder, timezone="Asia/Kathmandu"), Book(UUID(int=7)), MONDAY)
    assert found.days == DAYS
    assert found.places[0].days[-1] == 75, "its last rows are of 17:45 there"
    begin, now = datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 26, 12, tzinfo=UTC)
    rows = series(7, begin + timedelta(hours=1), 40)
    store(folder, 7, rows, None)
    found = made(settings_of(folder, timezone="Europe/Paris"), Book(UUID(int=7)), now)
    assert next(place for place in found.places if place.location_id == 7).days[-1] == 100


def test_a_damaged_file_costs_its_own_numbers_alone(folder: Path) -> None:
    (folder / "location_8.json").write_bytes(b"[\n{broken")
    found = made(settings_of(folder), Book(UUID(int=7)), MONDAY)
    assert [(place.location_id, set(place.days)) for place in found.places] == [(7, {100}), (8, {None})]


def test_what_has_moved_into_the_history_is_not_called_missing(folder: Path) -> None:
    store(folder, 7, series(7, datetime(2026, 11, 15, 1, tzinfo=UTC), 24 * 9), datetime(2026, 11, 19, tzinfo=UTC))
    found = made(settings_of(folder), Book(UUID(int=7)), MONDAY)
    assert next(place for place in found.places if place.location_id == 7).days == (None,) * 3 + (100,) * 4


# --- once a week ---


def test_it_is_stored_before_it_is_sent_and_once_a_week(folder: Path) -> None:
    file, wanted, told = AlertFile(folder), settings_of(folder), policy("slack", digest=WEEK)
    note_digest(wanted, file, MONDAY - timedelta(days=3), told)
    assert file.read().outbox == (), "of the first week nothing is told"
    for hours in (-1, 0, 1, 100):
        note_digest(wanted, file, MONDAY + timedelta(hours=hours), told)
    (entry,) = file.read().outbox
    assert (entry.notice.kind, entry.queued) == ("digest", MONDAY)
    channel = Told()
    for _ in range(2):
        deliver(file, {"slack": channel}, policy=told, clock=lambda: MONDAY)
    assert [notice.digest for notice in channel.notices] == [entry.notice.digest]
    assert file.read().look_at == MONDAY + timedelta(days=7)


def test_a_digest_that_can_not_be_made_costs_no_alert(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file, told = AlertFile(folder), policy("slack", digest=WEEK)
    file.change(MONDAY, lambda book: msgspec.structs.replace(book, digests=("2019-W01",)))
    monkeypatch.setattr(digests, "made", lambda *_: 1 / 0)
    note_digest(settings_of(folder), file, MONDAY, told)
    assert "could not be made" in caplog.text
    assert file.read().outbox == ()


# --- its ways to the people ---


def test_the_picture_has_a_cell_in_its_colour_for_each_day_of_each_location() -> None:
    body = drawn(DIGEST)
    assert body == drawn(DIGEST)
    assert len(body) < 40_000
    image = Image.open(io.BytesIO(body)).convert("RGB")
    assert image.width == WIDTH * SCALE
    expected = [SHADES[0], SHADES[1], SHADES[2], SHADES[3], SHADES[4], None, SHADES[0]]
    for number, shade in enumerate(expected):
        place = (MARGIN + NAMES + CELL * number + 6, HEAD + ROW / 2)
        colour = image.getpixel((int(place[0] * SCALE), int(place[1] * SCALE)))
        wanted = "#e6e8eb" if shade is None else shade.colour
        assert "#{:02x}{:02x}{:02x}".format(*colour) == wanted  # type: ignore[misc]


@settings_(max_examples=25, deadline=None)  # drawing takes its time
@given(st.lists(st.builds(DigestPlace, st.integers(1, 9), st.text(max_size=99), st.just((50,) * 7)), max_size=3))
def test_any_name_can_be_drawn(places: list[DigestPlace]) -> None:
    assert drawn(msgspec.structs.replace(DIGEST, places=tuple(places))).startswith(b"\x89PNG")


def test_the_mail_has_the_picture_in_it_with_words_for_who_does_not_see_it(servers: Servers) -> None:
    server = servers.start()
    Email(settings(server.port), ORIGIN).send(NOTICE, timeout_seconds=10)
    (mail,) = server.mails
    assert mail["Subject"] == "The week: 93.2 % complete, 1,234 rows, 16 Nov to 22 Nov 2026 [staging on box-7]"
    text, page = mail.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert "lasted 24 h: 3 locations of AirNow are silent" in text.get_content()
    assert page.get_content_type() == "multipart/related"
    html, picture = page.iter_parts()
    assert html.get_content_type() == "text/html"
    assert f"src='cid:{picture['Content-ID'].strip('<>')}'" in html.get_content()
    assert "alt='Percent complete by location and day, 16 Nov to 22 Nov 2026. 93.2 % in all." in html.get_content()
    assert "Thamel &lt;b&gt;" in html.get_content()
    assert picture.get_content_type() == "image/png"
    assert picture.get_content() == drawn(DIGEST)


def test_where_nothing_can_draw_the_words_of_the_digest_have_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    mail = message(NOTICE, ORIGIN, settings())
    assert [part.get_content_type() for part in mail.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    assert "cid:" not in mail.as_string()
    assert "lasted 24 h" in html(NOTICE, ORIGIN, pictured=False)


def test_a_mail_without_a_digest_has_no_picture() -> None:
    plain = Notice("id-2", "begun", Condition("k", "info", "t", "m"), began=MONDAY)
    assert message(plain, ORIGIN, settings()).get_content_type() == "multipart/alternative"
    assert not [part for part in message(plain, ORIGIN, settings()).walk() if part.get_content_maintype() == "image"]


def test_apprise_gets_the_picture_as_an_attachment(receive: Receive) -> None:
    server = receive(status(200))
    AppriseAddress("apprise:1", at(server), ORIGIN).send(NOTICE, timeout_seconds=10)
    (attached,) = server.received[0].json["attachments"]
    assert (attached["filename"], attached["mimetype"]) == ("week.png", "image/png")
    assert base64.b64decode(attached["base64"]) == drawn(DIGEST)


def test_slack_and_webhook_get_the_numbers() -> None:
    body = json.loads(payload(NOTICE, ORIGIN))
    assert body["kind"] == "digest"
    assert body["digest"]["places"][0]["days"] == [100, 98, 60, 12, 0, None, 100]
    said = json.dumps(slack.message(NOTICE, ORIGIN))
    assert "100  98  60  12   0   - 100" in said
    assert len(slack.message(msgspec.structs.replace(NOTICE, digest=LARGE), ORIGIN)["blocks"][2]["text"]["text"]) < 3000


LARGE = msgspec.structs.replace(
    DIGEST,
    places=tuple(DigestPlace(number, "x" * 200, (100,) * 7) for number in range(25)),
    alerts=tuple(DigestAlert("y" * 200, MONDAY, None) for _ in range(15)),
)
