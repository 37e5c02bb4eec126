"""Mending the files of one location from what they hold, under its lock; what is lost is noted as owed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import MAXYEAR, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from openaq_pipeline import bounded, files
from openaq_pipeline.columns import HISTORY
from openaq_pipeline.commit.recent import before
from openaq_pipeline.commit.seal import open_history
from openaq_pipeline.incremental import plan
from openaq_pipeline.incremental.columns import overlay
from openaq_pipeline.model import UNREADABLE, License, Reject, Window
from openaq_pipeline.quality.rules import RULES
from openaq_pipeline.repair.mended import Mended
from openaq_pipeline.storage import remains
from openaq_pipeline.storage.checks import layout, notes
from openaq_pipeline.storage.checks.boundary import absurd
from openaq_pipeline.storage.checks.findings import broken
from openaq_pipeline.storage.checks.keys import moment
from openaq_pipeline.storage.checks.location import LocationLook, look
from openaq_pipeline.storage.checks.year import keys_of
from openaq_pipeline.storage.history import History
from openaq_pipeline.storage.ledgers import Ledgers
from openaq_pipeline.storage.owed import Owed
from openaq_pipeline.storage.sealed import seal_path
from openaq_pipeline.verify import state_findings
from openaq_pipeline.wiring import Stores

SECOND = timedelta(seconds=1)
LOSSY = {"undecodable_row", "wrong_location", "duplicate_key"}
"""What can be wrong with a location file so that a row of it is lost, or which of two is right is not known."""


class Local:
    """Mends locations one after the other. `told` is how many rows a damaged year had, by location and year."""

    def __init__(self, stores: Stores, clock: Callable[[], datetime]) -> None:
        self._stores = stores
        self._clock = clock
        self._folder = stores.settings.data_dir
        self._history = History(self._folder)
        self._owed = Owed(self._folder)
        self.told: dict[tuple[int, int], int] = {}

    def mend(self, location_id: int) -> list[Mended]:
        """Mend a location's files, and return what was done; raises `StorageError` or `RetriableError`."""
        done: list[Mended] = []
        with self._stores.files.lock(location_id):
            found = self._look(location_id)
            done += [self._year(location_id, year) for year in found.broken_years]
            if found.live is not None and broken(found.live.findings):
                done.append(self._live(location_id, found))
            done += self._small(location_id)
            if done:
                found = self._look(location_id)
            if found.wrong_seal:
                done.append(self._seal(location_id, found))
            self._owe_what_the_state_knows(location_id)
        return done

    def _look(self, location_id: int) -> LocationLook:
        return look(self._folder, location_id, RULES, self._clock())

    def _year(self, location_id: int, year: int) -> Mended:
        """Put what can be read of a year in the place of its damaged file."""
        path = self._history.path(location_id, year)
        if not files.exists(path):
            self._owe(location_id, self._year_span(location_id, year))
            return Mended(self._name(path), "it is gone; its rows are fetched again")
        found = remains.read(path)
        rows = overlay(found.rows, HISTORY.empty_table()) if found.rows.num_rows else found.rows
        lost = not found.whole or rows.num_rows < found.rows.num_rows
        if lost:
            self._owe(location_id, self._year_span(location_id, year))
        if found.told is not None and not found.whole:
            self.told[location_id, year] = found.told
        place = files.keep_elsewhere(path, self._aside(location_id, year), self._clock())
        licenses = self._licenses(location_id, found)
        moved = self._put(location_id, year, rows, licenses, path)
        of = "" if found.told is None else f" of {found.told:,}"
        said = f"set aside as {self._name(place)}; {rows.num_rows:,}{of} rows in it could be read and stay"
        if moved:
            said += f", {moved:,} of them in the files of their own years"
        return Mended(self._name(path), said)

    def _put(self, location_id: int, year: int, rows: pa.Table, licenses: tuple[License, ...], path: Path) -> int:
        """Write rows where they belong: those of the year in its file, others where their key is not known yet.

        Returns how many are of other years.
        """
        stamps = keys_of(rows).stamps
        years = stamps.astype("datetime64[us]").astype("datetime64[Y]").astype(int) + 1970
        others = [other for other in np.unique(years).tolist() if other != year and 1 <= other <= 9999]
        for other in others:
            there = self._history.year(location_id, other)
            here = rows.filter(pa.array(years == other))
            self._history.write(location_id, other, overlay(here, there), licenses)
        own = rows.filter(pa.array(years == year))
        if own.num_rows:
            self._history.write(location_id, year, own, licenses)
        else:
            files.remove_durably(path)
        return int(rows.num_rows - own.num_rows)

    def _licenses(self, location_id: int, found: remains.Remains) -> tuple[License, ...]:
        """Return the licences to note: as OpenAQ says, else as the damaged file does."""
        known = self._stores.metadata.get(location_id)
        return known.licenses if known else tuple(found.licenses or ())

    def _live(self, location_id: int, found: LocationLook) -> Mended:
        """Bring a location file into form; it sets aside by itself what it can't read."""
        live, path = found.live, self._stores.files.path(location_id)
        if live is not None and LOSSY & {finding.rule for finding in live.findings}:
            oldest = None if live.keys is None or not len(live.keys.stamps) else moment(int(live.keys.stamps.min()))
            self._owe(location_id, self._live_span(location_id, oldest))
        stored = self._stores.files.inspect(location_id, None, self._clock())
        return Mended(self._name(path), stored.warning or "it was in order by the time it was to be mended")

    def _small(self, location_id: int) -> Iterator[Mended]:
        """Mend the rejects and set damaged notes aside."""
        path = self._stores.rejects.path(location_id)
        _, problem = notes.rejects(path)
        if problem and broken((problem,)):
            yield self._rejects(path)
        path = self._stores.progress.path(location_id)
        problem = notes.backfill(path)
        if problem and broken((problem,)):
            yield self._set_aside(path, "a backfill begins from the start of its range again")
        path = Ledgers(self._folder).path(location_id)
        problem = notes.ledger(path)
        if problem and broken((problem,)):
            yield self._set_aside(path, "the next audit finds out anew what stood there")
        path = self._owed.path(location_id)
        if any(finding.rule == "damaged_file" for finding in notes.owed(self._owed, location_id)):
            said = "what an earlier repair had still to fetch is not known any more: run a backfill of the range"
            yield msgspec.structs.replace(self._set_aside(path, said), complete=False)

    def _rejects(self, path: Path) -> Mended:
        """Keep the lines that can be read."""
        place = files.keep_aside(path, self._clock())
        good = [line for line in _bytes(path).splitlines() if _is_reject(line)]
        with files.replacing(path) as file:
            file.writelines(line + b"\n" for line in good)
        return Mended(self._name(path), f"set aside as {place.name}; {len(good):,} lines in it could be read and stay")

    def _set_aside(self, path: Path, then: str) -> Mended:
        return Mended(self._name(path), f"set aside as {files.set_aside(path, self._clock()).name}; {then}")

    def _seal(self, location_id: int, found: LocationLook) -> Mended:
        """Put the seal where every row counts once: behind the last one that only the history has."""
        path, to = seal_path(self._folder, location_id), found.seal_to
        if found.live is not None and found.live.keys is None:
            return Mended(
                self._name(path), "it can't be worked out anew while the location file can't be read", complete=False
            )
        if to is not None and (why := absurd(to, self._clock())):
            return Mended(self._name(path), f"it can't be worked out anew from the history: {why}", complete=False)
        aside = f"set aside as {files.set_aside(path, self._clock()).name}; " if files.exists(path) else ""
        if to is None:
            return Mended(self._name(path), f"{aside}none is needed, because the location file has all rows")
        open_history(location_id, to, files=self._stores.files, licenses=None)
        return Mended(self._name(path), f"{aside}worked out anew from the rows: the history counts up to {to:%Y-%m-%d}")

    def _owe_what_the_state_knows(self, location_id: int) -> None:
        """Owe the live rows where more has been read than is there: somebody cut or removed the file."""
        state, found = self._stores.state.get(location_id), self._look(location_id)
        problems = state_findings(self._folder, location_id, state, found.latest, self._clock())
        if any(finding.rule == "state_ahead" for finding in problems):
            self._owe(location_id, self._live_span(location_id, None))

    def _owe(self, location_id: int, span: Window) -> None:
        self._owed.add(location_id, span)
        self._stores.progress.forget(location_id, span)

    def _year_span(self, location_id: int, year: int) -> Window:
        """Return the range to fetch for a year of the history."""
        now = self._clock()
        start = datetime(year, 1, 1, tzinfo=now.tzinfo)
        to, _ = notes.seal(self._folder, location_id, now)
        end = start.replace(year=year + 1) if year < MAXYEAR else now
        return Window(before(start, SECOND), max(start, min(end, to or now, now)))

    def _live_span(self, location_id: int, oldest: datetime | None) -> Window:
        """Return the range to fetch for a location file whose oldest readable row is known, or not."""
        now = self._clock()
        to, _ = notes.seal(self._folder, location_id, now)
        start = to or min(oldest or now, plan.live_from(None, now, self._stores.settings.data.live_days))
        return Window(before(start, SECOND), now)

    def _aside(self, location_id: int, year: int) -> Path:
        return self._folder / layout.DAMAGED / f"location_{location_id}.{year:04}.measurements.parquet"

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()


def _bytes(path: Path) -> bytes:
    try:
        return bounded.whole(path, bounded.ROWS_BYTES)
    except OSError as error:
        raise files.storage_error(error, path) from error


def _is_reject(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=Reject)
    except UNREADABLE:
        return False
    return True
