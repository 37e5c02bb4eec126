"""What an ingest is told, what it works with, and what comes of it: the same for the API and for the archive."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from openaq_pipeline.commit.recent import before
from openaq_pipeline.errors import PipelineError
from openaq_pipeline.incremental import plan, planner
from openaq_pipeline.model import Change, Latest, Location, SensorState, Window
from openaq_pipeline.monitoring.tally import Tally
from openaq_pipeline.ports import MetadataStore, ProgressStore, RejectStore, RowStore, Source, StateStore
from openaq_pipeline.quality.required import Required
from openaq_pipeline.quality.rules import Judge
from openaq_pipeline.reports import LocationReport, SensorOutcome
from openaq_pipeline.settings import DataSettings

EARLIEST = datetime.min.replace(tzinfo=UTC)
LEAST_LOOK_BACK = timedelta(hours=6)
"""However punctual a provider was so far: what is read again comes with a request that is sent anyway."""


class Visit(msgspec.Struct, frozen=True):
    """What a poll does at one location. Sensors in `left` are not asked for, and count as it says.

    `latest` are rows that OpenAQ's lists showed and that are the very next ones of their sensors: they are stored.
    """

    location_id: int
    left: Mapping[int, SensorOutcome] = {}
    latest: tuple[Latest, ...] = ()


class Parts(msgspec.Struct, frozen=True):
    """What an ingest works with. `progress` is where a backfill goes on from; None: from the beginning.

    `has_history`: whole months may move from the location files to the history; in a plain installation none can.
    """

    source: Source
    rows: RowStore
    rejects: RejectStore
    state: StateStore
    metadata: MetadataStore
    judge: Judge
    required: Required
    data: DataSettings
    tally: Tally
    progress: ProgressStore | None = None
    has_history: bool = True

    def live_from(self, newest: datetime | None, now: datetime) -> datetime:
        """Return where the live window begins, by the newest row (None: there is none); without a history, nowhere."""
        return plan.live_from(newest, now, self.data.live_days) if self.has_history else EARLIEST

    def window(
        self, order: Order, location_id: int, sensors_id: int, state: SensorState, look_back: timedelta
    ) -> Window | None:
        """Return what is to be asked of a sensor; None: nothing, or a backfill before this one has read it all."""
        window = order.window(state, self.data, look_back)
        if window is None or order.span is None or self.progress is None:
            return window
        return self.progress.rest(location_id, sensors_id, window)

    def requests(
        self, order: Order, location: Location, known: Mapping[int, SensorState], left: Collection[int] = ()
    ) -> int:
        """Return how many requests a location's sensors will cost if they report hourly, but for those in `left`."""
        probes = 0
        if order.span is None:  # a parked sensor is asked for its last hour first
            asked = (known.get(sensor.id, SensorState()) for sensor in location.sensors if sensor.id not in left)
            probes = sum(each.parked_until is not None and not plan.is_parked(each, order.now) for each in asked)
        windows = self.windows(order, location, known, left)
        return probes + plan.requests_for(order.reckoned(location, each) for each in windows)

    def windows(
        self, order: Order, location: Location, known: Mapping[int, SensorState], left: Collection[int] = ()
    ) -> list[Window]:
        """Return what is to be asked of a location's sensors, those left out of which nothing is."""
        look_back = self.look_back(known)
        found = [
            self.window(order, location.id, sensor.id, known.get(sensor.id, SensorState()), look_back)
            for sensor in location.sensors
            if sensor.id not in left
        ]
        return [window for window in found if window is not None]

    def file_begins(self, location_id: int, now: datetime) -> datetime:
        """Return in front of which moment a location's file has no rows, also none that are lost; wants its lock."""
        start = plan.live_from(None, now, self.data.live_days)
        return self.rows.sealed_to(location_id) or min(start, self.rows.oldest(location_id) or start)

    def look_back(self, known: Mapping[int, SensorState]) -> timedelta:
        """Return how far back of the newest row the series of a location's sensors are read again."""
        return planner.look_back_of(
            known.values(),
            usual=timedelta(hours=self.data.lookback_hours),
            least=LEAST_LOOK_BACK,
            most=timedelta(hours=self.data.sweep_hours),
        )


class Order(msgspec.Struct, frozen=True):
    """What a run is to do, the same for every location.

    `now` is where every window ends. `span` is the range of a backfill, which moves no watermark; None: a poll.
    `reset` reads at least the first span anew and keeps the data. `anew_from` is where the rows of a location begin of
    which some were lost; None: none were.
    """

    now: datetime
    span: Window | None = None
    reset: bool = False
    anew_from: datetime | None = None

    def window(self, state: SensorState, data: DataSettings, look_back: timedelta) -> Window | None:
        """Return the window to ask of a sensor; None: nothing to ask."""
        if self.span is not None:
            return self.span
        initial = timedelta(days=data.initial_days)
        return plan.plan_window(
            state,
            self.now,
            initial=initial if self.anew_from is None else max(initial, self.now - self.anew_from),
            lookback=look_back,
            sweep=timedelta(hours=data.sweep_hours),
        )

    def anew(self, start: datetime) -> Order:
        """Return the order for a location whose file begins there and has lost rows: all of it is read again."""
        return msgspec.structs.replace(self, anew_from=before(start, timedelta(seconds=1)))  # a start is exclusive

    def reckoned(self, location: Location, window: Window) -> Window:
        """Return the part of a sensor's window that its cost is reckoned by: of a backfill where there can be rows."""
        if self.span is None:
            return window
        return plan.reported(window, location.datetime_first, location.datetime_last)


class Ingested(msgspec.Struct, frozen=True):
    """What came of one location; `ends_run` is the error that concerns all others too, None if there is none."""

    report: LocationReport
    ends_run: PipelineError | None = None


def one_change(changes: Iterable[Change]) -> Change | None:
    """Return changes of a file as one; None: there is none, or something else changed it in between."""
    steps = iter(changes)
    found = next(steps, None)
    for step in steps:
        found = found.then(step) if found is not None else None
    return found
