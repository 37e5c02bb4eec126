"""A data folder with everything in it, made as users make it, and where its rows can be had again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import SecretStr

from openaq_pipeline import columns
from openaq_pipeline.backfill import backfill
from openaq_pipeline.locks import hold_location
from openaq_pipeline.model import Measurement, Reject, Window, file_order
from openaq_pipeline.repair import Mended, repair
from openaq_pipeline.run import run_once
from openaq_pipeline.settings import ApiSettings, ArchiveSettings, Settings
from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.server import Running, running
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.storage.history import History
from openaq_pipeline.storage.locations import LocationFiles
from openaq_pipeline.storage.rejects import Rejects
from openaq_pipeline.storage.sealed import seal_path, sealed_to
from openaq_pipeline.verify import FileFinding, verify
from openaq_pipeline.wiring import utc_now
from tests.archive_files import write_archive
from tests.conftest import NO_LIMIT

DAYS = 420
EVER = datetime.fromisoformat("0001-01-01T00:00:00Z")


class Kept(NamedTuple):
    """A data folder of two locations, whose first has a history of two years."""

    settings: Settings
    here: int
    there: int
    simulator: Running
    until: datetime = datetime.max.replace(tzinfo=UTC)

    @property
    def data(self) -> Path:
        return self.settings.data_dir

    @property
    def years(self) -> list[int]:
        return History(self.data).years(self.here)

    def year_file(self, year: int | None = None) -> Path:
        return History(self.data).path(self.here, year or self.years[0])

    @property
    def live(self) -> Path:
        return LocationFiles(self.data).path(self.here)

    @property
    def seal(self) -> Path:
        return seal_path(self.data, self.here)

    def name(self, path: Path) -> str:
        return path.relative_to(self.data).as_posix()

    def rows(self, location_id: int | None = None) -> list[Measurement]:
        """Return what a reader sees."""
        place, store = location_id or self.here, LocationFiles(self.data)
        to = sealed_to(self.data, place)
        older = [] if to is None else columns.to_rows(place, store.history().read(place, EVER, to))
        return sorted([*older, *store.tail(place, EVER)], key=file_order)

    def facts(self) -> list[tuple[object, ...]]:
        """Return what the API and the archive agree on, of each row that there was when the folder was made."""
        return [
            (row.sensors_id, row.datetime, row.value, row.parameter, row.units, row.datetime_local)
            for row in self.rows()
            if row.datetime <= self.until
        ]

    def errors(self) -> list[FileFinding]:
        return [finding for finding in verify(self.data).findings if finding.severity == "error"]

    def rules(self) -> set[tuple[str, str]]:
        """Return the file and the rule of each error."""
        return {(finding.file, finding.rule) for finding in self.errors()}

    def repair(self, settings: Settings | None = None) -> tuple[Mended, ...]:
        return repair(settings or self.settings, verify(self.data))

    def bytes(self) -> dict[str, bytes]:
        """Return every file but locks and the log."""
        return {
            self.name(path): path.read_bytes()
            for path in self.data.rglob("*")
            if path.is_file() and ".locks" not in path.parts and path.name not in {".lock", "pipeline.log"}
        }


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Make the folder once, with an archive that has what OpenAQ's has by now."""
    folder = tmp_path_factory.mktemp("kept")
    with running(named.bench(locations=2, sensors=2, days=DAYS), options=Options(requests_per_minute=0)) as simulator:
        # No hour begins while a test compares what was with what is.
        simulator.clock.set(datetime.now(UTC) - timedelta(minutes=10))
        simulator.clock.freeze()
        here, there = (station.id for station in simulator.world.stations)
        settings = Settings(
            data_dir=folder / "data",
            locations=[here, there],
            api=ApiSettings(
                base_url=simulator.base_url,
                api_key=SecretStr("k"),
                requests_per_minute=NO_LIMIT,
                requests_per_hour=NO_LIMIT,
            ),
            archive=ArchiveSettings(location=str(folder / "archive")),
        )
        kept = Kept(settings, here, there, simulator)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", str(folder / "state"))
            assert run_once(settings).complete
            now = utc_now()
            alone = settings.model_copy(update={"locations": [here]})
            assert backfill(alone, Window(now - timedelta(days=DAYS + 1), now)).complete
            assert run_once(settings).complete
        (folder / "archive").mkdir()
        old = now - timedelta(days=4)
        write_archive(folder / "archive", [row for row in kept.rows() if row.datetime < old])
        with hold_location(kept.data, here):
            Rejects(kept.data).add(here, [Reject(here, 1, "no stamp", "{}", now)])
        yield kept._replace(until=max(row.datetime for row in kept.rows()))


@pytest.fixture
def kept(made: Kept, tmp_path: Path) -> Kept:
    """Return a copy to be damaged, down to the times of change."""
    shutil.copytree(made.data, tmp_path / "data")
    return made._replace(settings=made.settings.model_copy(update={"data_dir": tmp_path / "data"}))
