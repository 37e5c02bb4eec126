"""One location: sensors that fail in ways that usually pass, and a first load that reaches into the history."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from openaq_pipeline.errors import RetriableError
from openaq_pipeline.ingest import STUBBORN_AFTER, ingest
from openaq_pipeline.model import Key, Latest, Measurement, Page, Window
from openaq_pipeline.monitoring.tally import Tally
from openaq_pipeline.order import Order, Parts, Visit
from openaq_pipeline.quality.required import Required
from openaq_pipeline.quality.rules import Judge
from openaq_pipeline.reports import SensorOutcome
from openaq_pipeline.settings import DataSettings, ValidationSettings
from tests.memory import MemoryMetadata, MemoryRejects, MemoryRows, MemoryState
from tests.test_ingest_machine import BEGINNING, HERE, SENSORS, Crash, Source


class Ailing(Source):
    """OpenAQ with sensors whose answers can't be read; `asked` counts the questions for each."""

    def __init__(self, *ill: int) -> None:
        super().__init__()
        self.ill = ill
        self.asked: list[int] = []

    def measurements(self, location_id: int, sensors_id: int, window: Window, *, attempts: int | None = None) -> Page:
        self.asked.append(sensors_id)
        if sensors_id in self.ill:
            raise RetriableError("504")
        return super().measurements(location_id, sensors_id, window, attempts=attempts)


def parts_for(source: Source, rows: MemoryRows | None = None, data: DataSettings | None = None) -> Parts:
    validation = ValidationSettings()
    return Parts(
        source=source,
        rows=rows or MemoryRows(),
        rejects=MemoryRejects(),
        state=MemoryState(),
        metadata=MemoryMetadata(),
        judge=Judge(validation),
        required=Required(validation.required_fields),
        data=data or DataSettings(),
        tally=Tally(),
    )


def outcomes(source: Ailing, runs: int) -> list[list[str]]:
    parts = parts_for(source)
    moments: list[datetime] = [BEGINNING + timedelta(minutes=10 * number) for number in range(runs)]
    reports = [ingest(parts, HERE, Order(now)).report for now in moments]
    return [[sensor.outcome for sensor in report.sensors] for report in reports]


def test_a_sensor_that_fails_again_and_again_while_its_neighbours_answer_is_parked() -> None:
    source = Ailing(SENSORS[0].id)
    found = outcomes(source, STUBBORN_AFTER + 2)
    assert found == [["failed", "ok", "ok"]] * STUBBORN_AFTER + [["parked", "ok", "ok"]] * 2
    assert source.asked.count(SENSORS[0].id) == STUBBORN_AFTER


def test_when_openaq_answers_for_none_nobody_is_parked() -> None:
    source = Ailing(*(sensor.id for sensor in SENSORS))
    assert outcomes(source, STUBBORN_AFTER + 2) == [["failed"] * 3] * (STUBBORN_AFTER + 2)


def test_a_row_from_a_list_is_left_where_the_file_bears_out_less_than_the_state_said() -> None:
    source, stores = Source(), MemoryRows()
    sensors_id, hour = SENSORS[0].id, timedelta(hours=1)
    source.rows = {(sensors_id, BEGINNING - hour * n): float(n) for n in range(1, 9)}
    parts = parts_for(source, stores)
    ingest(parts, HERE, Order(BEGINNING))
    left: dict[int, SensorOutcome] = dict.fromkeys((sensor.id for sensor in SENSORS), "ok")
    shown = Latest(HERE, sensors_id, BEGINNING, "local", 7.0)
    stores.put_back(HERE, stores.all(HERE)[:-3])  # a backup is put back just before the visit
    visit = Visit(HERE, left, (shown,))
    assert ingest(parts, HERE, Order(BEGINNING + hour), visit).report.counts.new == 0
    assert ingest(parts, HERE, Order(BEGINNING + hour)).report.counts.new == 3
    source.rows[sensors_id, BEGINNING] = 7.0
    assert ingest(parts, HERE, Order(BEGINNING + hour), visit).report.counts.new == 1
    assert stores.all(HERE)[-1].source == "latest"


# A first load that reaches into the history ----------------------------------------------------------------------

LIVE = datetime(2026, 2, 1, tzinfo=UTC)
"""Where the live window of 28 days begins."""

MONTHS = DataSettings(initial_days=90, live_days=28)


class Stores(MemoryRows):
    """Stores that note every row that comes to stand in the location's file, and stop where they are told."""

    def __init__(self) -> None:
        super().__init__(self._tick, self._tick)
        self.countdown: int | None = None
        self.written: set[Key] = set()

    def put_back(self, location_id: int, rows: Sequence[Measurement]) -> None:
        self.written |= {row.key for row in rows}
        super().put_back(location_id, rows)

    def _tick(self, _operation: str) -> None:
        if self.countdown is not None:
            self.countdown -= 1
            if self.countdown < 0:
                raise Crash


@pytest.fixture
def months() -> Source:
    """Give a source whose sensor 71 has 90 days of rows, every 12 hours."""
    source = Source()
    source.rows = {(SENSORS[0].id, BEGINNING - timedelta(hours=12 * n)): float(n) for n in range(180)}
    return source


def test_what_is_older_than_the_live_window_never_stands_in_the_file(months: Source) -> None:
    stores = Stores()
    done = ingest(parts_for(months, stores, MONTHS), HERE, Order(BEGINNING)).report
    assert (done.outcome, done.counts.new) == ("ok", 180)
    assert {stamp for _, stamp in stores.written} == {stamp for _, stamp in months.rows if stamp >= LIVE}
    assert {(row.sensors_id, row.datetime): row.value for row in stores.all(HERE)} == months.rows
    assert stores.sealed_to(HERE) == LIVE
    assert done.change is not None
    assert done.change.before is None
    assert done.change.after == stores.mark(HERE)


def test_a_first_load_that_is_cut_off_anywhere_is_made_up(months: Source) -> None:
    whole = Stores()
    ingest(parts_for(months, whole, MONTHS), HERE, Order(BEGINNING))
    for step in count():
        stores = Stores()
        parts = parts_for(months, stores, MONTHS)
        stores.countdown = step
        with suppress(Crash):
            ingest(parts, HERE, Order(BEGINNING))
            break
        stores.countdown = None
        # What is not durable yet, the state among it, is gone with the process.
        ingest(parts_for(months, stores, MONTHS), HERE, Order(BEGINNING))
        assert stores.all(HERE) == whole.all(HERE)
        assert stores.sealed_to(HERE) == LIVE
    assert step > 10


def test_a_station_that_has_been_silent_for_long_begins_no_history(months: Source) -> None:
    stores = Stores()
    newest = BEGINNING - timedelta(days=70)
    months.rows = {key: value for key, value in months.rows.items() if key[1] <= newest}
    ingest(parts_for(months, stores, MONTHS), HERE, Order(BEGINNING))
    assert stores.sealed_to(HERE) is None
    assert len(stores.rows[HERE]) == len(months.rows)
