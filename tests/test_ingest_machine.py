"""Ingest against a model of OpenAQ: whatever happens in between, the stores end up with what the source has.

Hypothesis makes up histories: rows arrive late and out of order, are repeated and revised, questions fail, the
process crashes between any two writes, the state is lost or falls behind, an old backup comes back. After every step
the watermarks stand on stored rows; after every poll that read everything, the stores equal the source.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import msgspec
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from openaq_pipeline.errors import PipelineError, RetriableError, ServerFault, Unreachable, WindowTooLarge
from openaq_pipeline.incremental.plan import is_parked
from openaq_pipeline.ingest import ingest
from openaq_pipeline.model import Location, Measurement, Page, Reject, Rhythm, Sensor, SensorState, Window
from openaq_pipeline.monitoring.tally import Tally
from openaq_pipeline.order import Ingested, Order, Parts
from openaq_pipeline.quality.required import Required
from openaq_pipeline.quality.rules import Judge
from openaq_pipeline.settings import DataSettings, SeriesTests, ValidationSettings
from tests.measurements import measurement
from tests.memory import MemoryMetadata, MemoryRejects, MemoryRows, MemoryState
from tests.often import examples

HERE = 7
SENSORS = (Sensor(71, 2, "pm25", "µg/m³"), Sensor(72, 10, "o3", "ppm"), Sensor(73, 100, "temperature", "c"))
BEGINNING = datetime(2026, 3, 1, tzinfo=UTC)
LOOKBACK_HOURS, SWEEP_HOURS, LATEST_ARRIVAL_HOURS = 4, 6, 4
"""Short spans, so that a history of a few steps reaches beyond them; no row comes later than the look-back finds."""

sensors = st.sampled_from(SENSORS)
values = st.one_of(st.none(), st.sampled_from([0.0, 12.5, 12.5, -999.0, 900.0]), st.floats(-50, 1500))


def forget_habits(states: dict[int, SensorState]) -> dict[int, SensorState]:
    """Return the states without what only saves requests and looking into the history, and is learnt again."""
    return {key: msgspec.structs.replace(state, echoes=(), rhythm=Rhythm()) for key, state in states.items()}


class Crash(BaseException):
    """The process is gone: nothing after this instruction happens."""


class Source:
    """OpenAQ as far as a location is concerned: its rows, and the questions that will fail."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, datetime], float | None] = {}
        self.broken: set[tuple[int, datetime]] = set()
        self.failures: list[PipelineError] = []
        self.now = BEGINNING

    def location(self, location_id: int) -> Location:
        self._fail()
        return Location(
            *(location_id, "Here", None, "UTC", None, None, None, None, None, None, False, True),
            *((), SENSORS, None, None, self.now),
        )

    def measurements(self, location_id: int, sensors_id: int, window: Window, *, attempts: int | None = None) -> Page:
        del attempts
        self._fail()
        stamps = sorted(
            stamp for owner, stamp in self.rows if owner == sensors_id and window.start < stamp <= window.end
        )
        good = [stamp for stamp in stamps if (sensors_id, stamp) not in self.broken]
        rejects = [
            Reject(location_id, sensors_id, "no value", stamp.isoformat(), self.now)
            for stamp in stamps
            if (sensors_id, stamp) in self.broken
        ]
        return Page([self.row(sensors_id, stamp) for stamp in good], rejects)

    def row(self, sensors_id: int, stamp: datetime) -> Measurement:
        sensor = next(sensor for sensor in SENSORS if sensor.id == sensors_id)
        return measurement(
            self.rows[sensors_id, stamp],
            stamp,
            first_seen=self.now,
            location_id=HERE,
            sensors_id=sensors_id,
            parameters_id=sensor.parameters_id,
            parameter=sensor.parameter,
            units=sensor.units,
        )

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop()


class IngestMachine(RuleBasedStateMachine):
    """One location, polled again and again while everything goes wrong around it."""

    def __init__(self) -> None:
        super().__init__()
        self.source = Source()
        self.countdown: int | None = None
        hooks = self.tick, self.tick
        self.rows, self.rejects = MemoryRows(*hooks), MemoryRejects(*hooks)
        self.state, self.metadata = MemoryState(*hooks), MemoryMetadata(*hooks)
        # Short contexts, so that the histories made up here reach beyond them.
        flat: dict[str, float] = dict.fromkeys(("pm25", "o3", "temperature"), 2)
        validation = ValidationSettings(series_tests=SeriesTests(neighbour_hours=2, flat_line_hours=flat))
        self.parts = Parts(
            source=self.source,
            rows=self.rows,
            rejects=self.rejects,
            state=self.state,
            metadata=self.metadata,
            judge=Judge(validation),
            required=Required(validation.required_fields),
            data=DataSettings(lookback_hours=LOOKBACK_HOURS, sweep_hours=SWEEP_HOURS, live_days=1, initial_days=3650),
            tally=Tally(),
        )
        self.backups: list[list[Measurement]] = []

    def tick(self, _operation: str) -> None:
        if self.countdown is not None:
            self.countdown -= 1
            if self.countdown < 0:
                raise Crash

    def poll(self) -> Ingested:
        return ingest(self.parts, HERE, Order(self.source.now))

    @rule(
        sensor=sensors,
        value=values,
        hours_late=st.integers(0, LATEST_ARRIVAL_HOURS - 1),
        minute=st.sampled_from([0, 0, 0, 30]),
    )
    def a_row_arrives(self, sensor: Sensor, value: float | None, hours_late: int, minute: int) -> None:
        self.a_row_arrives_at(sensor, value, hours_late, minute)

    def a_row_arrives_at(self, sensor: Sensor, value: float | None, hours_late: int, minute: int) -> None:
        stamp = self.source.now.replace(minute=0) - timedelta(hours=hours_late, minutes=minute)
        # OpenAQ inserts only: the first value of an hour wins, and revisions are rare acts of its administrators.
        self.source.rows.setdefault((sensor.id, stamp), value)

    @rule(sensor=sensors, value=values, hours=st.integers(2, LATEST_ARRIVAL_HOURS))
    def a_stuck_series_arrives(self, sensor: Sensor, value: float | None, hours: int) -> None:
        for hours_late in range(hours):
            self.a_row_arrives_at(sensor, value, hours_late, 0)

    @rule(sensor=sensors, value=values, hours_ago=st.integers(0, LATEST_ARRIVAL_HOURS - 1))
    def a_row_is_revised(self, sensor: Sensor, value: float | None, hours_ago: int) -> None:
        key = sensor.id, self.source.now.replace(minute=0) - timedelta(hours=hours_ago)
        if key in self.source.rows:
            self.source.rows[key] = value

    @rule(sensor=sensors, hours_ago=st.integers(0, LATEST_ARRIVAL_HOURS - 1))
    def a_broken_row_arrives(self, sensor: Sensor, hours_ago: int) -> None:
        key = sensor.id, self.source.now.replace(minute=0) - timedelta(hours=hours_ago, minutes=15)
        self.source.rows.setdefault(key, None)
        self.source.broken.add(key)

    @rule(hours=st.sampled_from([1, 2, 5, 24, 90, 90, 500]))
    def time_passes(self, hours: int) -> None:
        """Months too, so that rows move to the history."""
        self.source.now += timedelta(hours=hours)

    @rule(
        errors=st.lists(
            st.sampled_from([Unreachable, RetriableError, ServerFault, WindowTooLarge]), min_size=1, max_size=4
        ),
    )
    def questions_will_fail(self, errors: list[type[PipelineError]]) -> None:
        self.source.failures = [error("made to fail") for error in errors]

    @rule()
    def poll_that_may_fail(self) -> None:
        self.poll()
        self.source.failures.clear()

    @rule(operations=st.integers(0, 25))
    def poll_that_crashes(self, operations: int) -> None:
        self.countdown = operations
        try:
            self.poll()
        except Crash:
            pass
        finally:
            self.countdown = None

    @rule()
    def poll_to_the_end_and_compare(self) -> None:
        """With every sensor's parking over, a poll without faults brings the stores to what the source has."""
        self.source.failures.clear()
        self.poll()
        if any(is_parked(state, self.source.now) for state in self.known().values()):
            return
        assert self.stored_values() == self.source_values()
        rejected = {(reject.sensors_id, reject.row) for reject in self.rejects.rejects.get(HERE, [])}
        assert rejected == {(sensors_id, stamp.isoformat()) for sensors_id, stamp in self.source.broken}
        rows, states = self.stored(), self.known()
        again = self.poll().report
        assert again.outcome == "ok"
        assert (again.counts.new, again.counts.revised) == (0, 0)
        assert self.stored() == rows
        assert forget_habits(self.known()) == forget_habits(states)

    @rule()
    def a_backup_is_made(self) -> None:
        self.backups.append(list(self.rows.rows.get(HERE, [])))

    @precondition(lambda self: self.backups)
    @rule(which=st.integers(0, 2))
    def an_old_backup_comes_back(self, which: int) -> None:
        self.rows.put_back(HERE, self.backups[min(which, len(self.backups) - 1)])

    @rule()
    def the_state_is_lost(self) -> None:
        self.state.states.clear()

    def stored(self) -> list[Measurement]:
        return self.rows.all(HERE)

    def known(self) -> dict[int, SensorState]:
        return self.state.states[HERE].sensors if HERE in self.state.states else {}

    def stored_values(self) -> dict[tuple[int, datetime], float | None]:
        return {(row.sensors_id, row.datetime): row.value for row in self.stored()}

    def source_values(self) -> dict[tuple[int, datetime], float | None]:
        return {key: value for key, value in self.source.rows.items() if key not in self.source.broken}

    @invariant()
    def rows_are_unique_and_sorted(self) -> None:
        order = [(row.datetime, row.sensors_id) for row in self.stored()]
        assert order == sorted(set(order))

    @invariant()
    def no_watermark_is_ahead_of_what_is_stored_or_of_now(self) -> None:
        state = self.state.states.get(HERE)
        if state is None or self.rows.mark(HERE) != state.file:
            return  # the state was written for other rows; the next start holds it back before it is used
        stored = {row.sensors_id: row.datetime for row in self.stored()}
        for sensors_id, sensor in state.sensors.items():
            if sensor.watermark is not None:
                assert sensor.watermark <= stored[sensors_id]
                assert sensor.watermark <= self.source.now

    @invariant()
    def rejected_rows_are_kept_once(self) -> None:
        rejected = [(reject.sensors_id, reject.row) for reject in self.rejects.rejects.get(HERE, [])]
        assert len(rejected) == len(set(rejected))

    @invariant()
    def issues_are_those_of_the_whole_series(self) -> None:
        rows = self.stored()
        assert [row.issues for row in rows] == self.parts.judge.issues(rows)


IngestMachine.TestCase.settings = settings(
    max_examples=examples(150), stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestIngest = IngestMachine.TestCase
