"""A look back at the week: made once a week from the files, at little cost, and put into the outbox like any notice.

How complete a location is comes from the end of its file and the rhythm of its sensors; of many locations only those
that look worst are looked into. Runs and requests are those that `metrics.json` remembers.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec

from openaq_pipeline.errors import PipelineError, StorageError
from openaq_pipeline.incremental.rhythm import interval_of
from openaq_pipeline.model import SensorState
from openaq_pipeline.monitoring import grouping
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.monitoring.alerts import Book
from openaq_pipeline.monitoring.history import KEPT_RUNS
from openaq_pipeline.monitoring.metrics import RunMetrics
from openaq_pipeline.monitoring.policy import timezone_of
from openaq_pipeline.monitoring.telling import Policy, digest_due, digest_told, with_digest
from openaq_pipeline.overview import overview
from openaq_pipeline.reports import WORST_FIRST, Condition, Digest, DigestAlert, DigestPlace, LocationHealth
from openaq_pipeline.settings import Settings
from openaq_pipeline.storage.locations import LocationFiles
from openaq_pipeline.storage.state import StateFile

log = logging.getLogger(__name__)

DAYS = 7
MOST_LOOKED_AT = 200
"""So many locations are looked into, 3 ms each: the silent and failing ones first."""

PLACES, ALERTS = 25, 15
"""So many locations and alerts are listed."""

EXPECTED_FOR = timedelta(days=28)
"""A sensor whose last row is older than that at the week's beginning is not waited for any more."""


def note_digest(settings: Settings, file: AlertFile, now: datetime, policy: Policy) -> None:
    """Put the digest of the week into the outbox if it is time for it. Raises nothing: no alert may wait for it."""
    try:
        book = file.read()
        week = digest_due(book.digests, now, policy)
        if week is None:
            return
        if not book.digests:  # of the week in which it was installed nothing is told
            file.change(now, lambda known: digest_told(known, week))
            return
        digest = made(settings, book, now)
        file.change(now, lambda known: with_digest(known, (sentence(digest), digest), now, policy))
    except PipelineError as error:
        log.warning("The digest of the week could not be made: %s", error.advice)
    except Exception:
        log.exception("The digest of the week could not be made; this is a bug")


def made(settings: Settings, book: Book, now: datetime) -> Digest:
    """Return the digest of the seven days before today. Raises `StorageError` for files that can't be read."""
    zone = timezone_of(settings)
    today = now.astimezone(ZoneInfo(zone)).date()
    days = tuple(today - timedelta(days=number) for number in range(DAYS, 0, -1))
    bounds = [_midnight(day, zone) for day in (*days, today)]
    found = overview(settings, now, shown_runs=KEPT_RUNS)
    chosen = sorted(found.health.locations, key=lambda place: WORST_FIRST.index(place.status))[:MOST_LOOKED_AT]
    state = StateFile(settings.data_dir)
    state.load(now, repair=False)
    files = LocationFiles(settings.data_dir)
    looks = [_look(files, place, state.get(place.location_id).sensors, bounds) for place in chosen]
    held, due = sum(sum(look.held) for look in looks), sum(sum(look.due) for look in looks)
    runs = [run for run in found.runs if bounds[0] <= run.started < bounds[-1]]
    alerts = sorted(_alerts(book, bounds[0], now), key=lambda alert: alert.began, reverse=True)
    return Digest(
        days=days,
        timezone=zone,
        rows=sum(look.rows for look in looks),
        completeness=100 * held / due if due else None,
        locations=len(found.health.locations),
        looked_at=len(chosen),
        places=tuple(_place(look) for look in sorted(looks, key=_Look.rank)[:PLACES]),
        runs=len(runs),
        failed_runs=sum(not run.successful_locations for run in runs),
        requests=sum(run.requests for run in runs),
        runs_since=_since(found.runs, runs, bounds[0]),
        alerts=tuple(alerts[:ALERTS]),
        more_alerts=max(0, len(alerts) - ALERTS),
    )


def sentence(digest: Digest) -> Condition:
    """Return the digest in a line or two."""
    whole = "Nothing was due" if digest.completeness is None else f"{_percent(digest.completeness)} complete"
    span = f"{digest.days[0]:%d %b} to {digest.days[-1]:%d %b %Y}"
    title = f"{whole}, {digest.rows:,} rows, {span}"
    count = len(digest.alerts) + digest.more_alerts
    of = f" (the {digest.looked_at} worst looked into)" if digest.looked_at < digest.locations else ""
    message = (
        f"{digest.rows:,} rows of {digest.locations:,} location{'' if digest.locations == 1 else 's'}{of}, "
        f"{_runs(digest)}, {count or 'no'} alert{'' if count == 1 else 's'}."
    )
    return Condition("digest", "info", title, message)


def _runs(digest: Digest) -> str:
    known = f"{digest.runs} runs with {digest.requests:,} requests"
    failed = f", {digest.failed_runs} of them failed" if digest.failed_runs else ""
    since = f" since {digest.runs_since:%d %b %H:%M} UTC" if digest.runs_since else ""
    return f"{known}{since}{failed}"


def _percent(share: float) -> str:
    """Return a share that is called 100 % only if it is."""
    return f"{min(share, 99.9):.1f} %" if share < 100 else "100 %"


def _midnight(day: date, zone: str) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def _since(known: Sequence[RunMetrics], runs: Sequence[RunMetrics], begin: datetime) -> datetime | None:
    """Return when the runs begin that are counted, if those of the week's beginning are forgotten."""
    return runs[0].started if runs and len(known) == KEPT_RUNS and known[0].started > begin else None


class _Look(msgspec.Struct, frozen=True):
    """What a location has of a week: rows, and a day at a time how many were due and how many of those are there."""

    place: LocationHealth
    rows: int
    held: tuple[int, ...]
    due: tuple[int, ...]

    def rank(self) -> tuple[float, int]:
        """Return where it stands among the worst: what is due and not there."""
        due = sum(self.due)
        return (sum(self.held) / due if due else 2.0, self.place.location_id)


def _look(
    files: LocationFiles, place: LocationHealth, sensors: Mapping[int, SensorState], bounds: Sequence[datetime]
) -> _Look:
    """Look into the end of a location's file, for the days between the bounds."""
    try:
        sealed = files.sealed_to(place.location_id)
        rows = files.tail(place.location_id, bounds[0], bounds[-1] + timedelta(seconds=1))
    except StorageError:  # what is damaged is told elsewhere
        return _Look(place, 0, (0,) * DAYS, (0,) * DAYS)
    by_sensor: dict[int, set[datetime]] = defaultdict(set)
    for row in rows:
        if bounds[0] < row.datetime <= bounds[-1]:  # the stamp is the end of its period
            by_sensor[row.sensors_id].add(row.datetime)
    intervals = dict(_intervals(sensors, by_sensor, bounds[0]))
    held, due = [], []
    for start, end in pairwise(bounds):
        known = sealed is None or start >= sealed  # else they have moved into the history
        steps = {key: int((end - start).total_seconds()) // seconds for key, seconds in intervals.items() if known}
        held.append(sum(min(step, _between(by_sensor[key], start, end)) for key, step in steps.items()))
        due.append(sum(steps.values()))
    return _Look(place, sum(map(len, by_sensor.values())), tuple(held), tuple(due))


def _between(stamps: Iterable[datetime], start: datetime, end: datetime) -> int:
    return sum(start < stamp <= end for stamp in stamps)


def _intervals(
    sensors: Mapping[int, SensorState], rows: Mapping[int, set[datetime]], begin: datetime
) -> Iterator[tuple[int, int]]:
    """Yield the spacing in seconds of the sensors from which rows are expected; of irregular ones none is known."""
    for key, sensor in sensors.items():
        if sensor.watermark is None or sensor.watermark < begin - EXPECTED_FOR:
            continue
        seconds = sensor.rhythm.interval_seconds or interval_of(sorted(rows.get(key, ())))
        if seconds:
            yield key, seconds


def _place(look: _Look) -> DigestPlace:
    name = f"{look.place.name} ({look.place.location_id})" if look.place.name else f"Location {look.place.location_id}"
    days = tuple(100 * held // due if due else None for held, due in zip(look.held, look.due, strict=True))
    return DigestPlace(look.place.location_id, name, days)


def _alerts(book: Book, begin: datetime, now: datetime) -> Iterator[DigestAlert]:
    """Yield what was amiss since the week's beginning; of what lasts many of one kind as one."""
    for past in book.past:
        if begin <= past.ended <= now:
            yield DigestAlert(past.condition.title, past.began, past.ended, past.count)
    yield from _lasting(book)


def _lasting(book: Book) -> Iterator[DigestAlert]:
    kinds: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key, opened in book.open.items():
        kinds[opened.condition.kind, opened.condition.provider].append(key)
    for keys in kinds.values():
        lasting = [book.open[key] for key in keys]
        began = min(opened.began for opened in lasting)
        said = grouping.begun([opened.condition for opened in lasting], began)
        yield DigestAlert(said.title, began, None, len(keys))
