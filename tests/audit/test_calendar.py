"""The calendar of a location: what audits found of its days, and what its own files tell of the others."""

from __future__ import annotations

import time
from datetime import date, timedelta

import msgspec
import pytest

from openaq_pipeline.audit import audit
from openaq_pipeline.audit.calendar import Calendar
from openaq_pipeline.errors import StorageError
from openaq_pipeline.incremental.plan import ARCHIVE_AFTER
from openaq_pipeline.storage.ledgers import LETTERS, NO_DAY, Ledgers
from openaq_pipeline.web.calendar import calendar
from openaq_pipeline.wiring import utc_now
from tests.archive_files import local_day
from tests.audit.conftest import days_of, lose
from tests.verify.conftest import Kept

DAY = timedelta(days=1)
YEAR = 365


def drawn(kept: Kept, days: int = YEAR) -> Calendar:
    return calendar(kept.settings, kept.here, utc_now(), days=days)


def letters(found: Calendar) -> str:
    """Every letter that stands in a calendar, each once."""
    return "".join(sorted({letter for sensor in found.sensors for letter in sensor.kinds}))


def test_the_days_that_an_audit_compared_are_what_it_found(kept: Kept) -> None:
    audit(kept.settings)
    found = drawn(kept)
    ledger = Ledgers(kept.data).get(kept.here)
    assert ledger is not None
    assert found.audited == ledger.audited
    assert {each.sensors_id for each in found.sensors} == set(ledger.sensors)
    for sensor in found.sensors:
        assert sensor.kinds == ledger.sensors[sensor.sensors_id].kinds[-YEAR:]
        assert sensor.held == ledger.sensors[sensor.sensors_id].held[-YEAR:]
        assert sensor.due == ledger.sensors[sensor.sensors_id].due[-YEAR:]
    assert set(letters(found)) == {LETTERS["complete"], LETTERS["not_due"]}


def test_without_an_audit_what_only_the_archive_can_tell_is_unknown(kept: Kept) -> None:
    now = utc_now()
    found = calendar(kept.settings, kept.here, now, days=YEAR)
    assert found.audited is None
    assert set(letters(found)) <= {LETTERS["unknown"], LETTERS["complete"], LETTERS["not_due"]}
    old = [found.first + number * DAY for number in range(YEAR)]
    first_young = next(place for place, day in enumerate(old) if day + 2 * DAY > (now - ARCHIVE_AFTER).date())
    for sensor in found.sensors:
        assert set(sensor.kinds[: first_young - 1]) == {LETTERS["unknown"]}
        assert LETTERS["complete"] in sensor.kinds[first_young:]


def test_each_day_has_its_rows_and_what_was_due(kept: Kept) -> None:
    found, rows = drawn(kept), days_of(kept.rows())
    for sensor in found.sensors:
        assert len(sensor.kinds) == len(sensor.held) == len(sensor.due) == YEAR
        for place, held in enumerate(sensor.held):
            assert held == rows.get((sensor.sensors_id, found.first + place * DAY), 0)
        assert set(sensor.due[:-1]) <= {23, 24, 25}


def test_rows_that_vanished_since_the_audit_are_our_gap(kept: Kept) -> None:
    audit(kept.settings)
    gone = lose(kept, lambda row: row.datetime.day == 17)
    found = drawn(kept)
    lost = days_of(gone)
    for sensor in found.sensors:
        for place, letter in enumerate(sensor.kinds):
            day = found.first + place * DAY
            assert (letter == LETTERS["our_gap"]) == ((sensor.sensors_id, day) in lost), day


def test_a_day_with_more_rows_than_the_audit_saw_is_unknown(kept: Kept) -> None:
    audit(kept.settings)
    ledgers = Ledgers(kept.data)
    known = ledgers.get(kept.here)
    assert known is not None
    fewer = {
        key: msgspec.structs.replace(each, held=[rows - 1 for rows in each.held], most=[0] * len(each.most))
        for key, each in known.sensors.items()
    }
    ledgers.path(kept.here).write_bytes(msgspec.json.encode(msgspec.structs.replace(known, sensors=fewer)))
    for sensor in drawn(kept).sensors:
        assert set(sensor.kinds[:300]) == {LETTERS["unknown"]}


def test_a_sensor_that_fell_silent_before_these_days_has_days_all_the_same(kept: Kept) -> None:
    audit(kept.settings)
    (first, _) = drawn(kept).sensors
    until = kept.rows()[0].datetime + 30 * DAY
    lose(kept, lambda row: row.sensors_id == first.sensors_id and row.datetime > until)
    found = next(each for each in drawn(kept, 60).sensors if each.sensors_id == first.sensors_id)
    assert NO_DAY not in found.kinds
    assert set(found.kinds) == {LETTERS["our_gap"]}


@pytest.mark.parametrize("days", [1, 30, 10_000])
def test_no_more_days_are_told_than_were_asked_for_or_are_here(kept: Kept, days: int) -> None:
    found = drawn(kept, days)
    first = local_day(kept.rows()[0])
    last = found.first + (len(found.sensors[0].kinds) - 1) * DAY
    assert found.first == max(first, last - (days - 1) * DAY)


def test_a_location_that_nobody_knows_has_no_days(kept: Kept) -> None:
    found = calendar(kept.settings, 999, utc_now(), days=30)
    assert found.sensors == []
    assert isinstance(found.first, date)


def test_nothing_is_written(kept: Kept) -> None:
    before = kept.bytes()
    drawn(kept)
    assert kept.bytes() == before


def test_each_look_sees_the_rows_that_are_here_now(kept: Kept) -> None:
    before = drawn(kept, 10)
    gone = lose(kept, lambda row: row.datetime > utc_now() - 5 * DAY)
    assert sum(sum(each.held) for each in before.sensors) - sum(
        sum(each.held) for each in drawn(kept, 10).sensors
    ) == len(gone)


def test_a_damaged_file_is_an_error(kept: Kept) -> None:
    kept.live.write_bytes(kept.live.read_bytes()[:-40])
    with pytest.raises(StorageError):
        drawn(kept)


def test_a_year_is_there_at_once(kept: Kept) -> None:
    audit(kept.settings)
    drawn(kept)
    began = time.process_time()
    drawn(kept)
    assert time.process_time() - began < 0.3
