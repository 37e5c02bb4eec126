"""Measurements: pages of them, and whole windows as files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from openaq_pipeline.model import Measurement, Window
from openaq_pipeline.web.api import models
from openaq_pipeline.web.api.asking import LocationId, SensorId, WindowAsked
from openaq_pipeline.web.api.locations import place
from openaq_pipeline.web.failures import Failure
from openaq_pipeline.web.look import Look

MOST_ROWS = 3_000_000
"""More rows than this are no download but an export: they take minutes, and a gigabyte as JSON."""

AT_ONCE = 2
"""So many readers of data files there are at a time: each may need a hundred megabytes."""

MOST_DOWNLOADS = 8
"""So many files lie on the disk at a time until their readers have them: each may have a gigabyte."""

WAIT_SECONDS = 20.0
IN_MEMORY_BYTES = 8 << 20
PIECE_BYTES = 1 << 16

TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json", "parquet": "application/vnd.apache.parquet"}

BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": models.Measurements,
        "description": "A page of measurements; with `format` the file. `json` is an array of measurements then.",
        "content": {"text/csv": {"schema": {"type": "string"}}, TYPES["parquet"]: BINARY},
    },
    404: {"model": models.Problem, "description": "It is not known here"},
    503: {"model": models.Problem, "description": "A file can't be read, or too many ask at once"},
}

_encode = msgspec.json.Encoder().encode


def router(look: Look) -> APIRouter:
    """Return the routes about measurements."""
    routes = APIRouter(tags=["measurements"])
    reader = Reader(look.settings.data_dir)

    @routes.get(
        "/locations/{locations_id}/measurements",
        summary="The measurements of a location",
        responses=RESPONSES,
        response_class=Response,
    )
    def location_measurements(locations_id: LocationId, asked: Annotated[WindowAsked, Query()]) -> Response:
        """Return measurements of all its sensors whose periods end in (`datetime_from`, `datetime_to`]."""
        place(look.seen(), locations_id)
        return reader.answer(locations_id, asked, _sensors_of(look, locations_id, asked))

    @routes.get(
        "/sensors/{sensors_id}/measurements",
        summary="The measurements of a sensor",
        responses=RESPONSES,
        response_class=Response,
    )
    def sensor_measurements(sensors_id: SensorId, asked: Annotated[WindowAsked, Query()]) -> Response:
        """Return measurements of one sensor whose periods end in (`datetime_from`, `datetime_to`]."""
        location_id = look.seen().sensors.get(sensors_id)
        if location_id is None:
            raise Failure(404, f"Sensor {sensors_id} is not known here", "See the sensors in /api/v1/locations.")
        among = _sensors_of(look, location_id, asked)
        wanted = frozenset({sensors_id}) & among if asked.parameters_id else frozenset({sensors_id})
        return reader.answer(location_id, asked.model_copy(update={"parameters_id": None}), wanted, alone=True)

    return routes


def _sensors_of(look: Look, location_id: int, asked: WindowAsked) -> frozenset[int]:
    """Return the sensors that are known to measure what is asked for; rows of the archive name no parameter."""
    known, numbers = look.seen().locations.get(location_id), set(asked.parameters_id or ())
    return frozenset(each.id for each in (known.sensors if known else ()) if each.parameters_id in numbers)


class Reader:
    """Reads measurements for who asks, for a few at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._downloads = threading.BoundedSemaphore(MOST_DOWNLOADS)

    def answer(self, location_id: int, asked: WindowAsked, sensors: frozenset[int], *, alone: bool = False) -> Response:
        """Return the measurements that are asked for; `alone`: those of `sensors` and of no other."""
        from openaq_pipeline.reading.location import Selection  # noqa: PLC0415 - Arrow is loaded where rows are read

        window = asked.window()
        numbers = frozenset(asked.parameters_id or ())
        wanted = Selection(window, frozenset(), numbers, sensors) if numbers or alone else Selection(window)
        with self._place():
            if asked.format is None:
                return self._page(location_id, asked, wanted)
            return self._file(location_id, asked.format, wanted)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(timeout=WAIT_SECONDS):
            raise Failure(503, "Too many are reading measurements", "Ask again.", {"Retry-After": "10"})
        try:
            yield
        finally:
            self._places.release()

    def _page(self, location_id: int, asked: WindowAsked, wanted: Any) -> Response:
        """Return a page; of all years but those that it lies in nothing is kept, only counted."""
        from openaq_pipeline.columns import HISTORY, to_rows  # noqa: PLC0415 - see above

        first, seen = (asked.page - 1) * asked.limit, 0
        rows: list[Measurement] = []
        for table in self._tables(location_id, wanted):
            some = table.slice(max(0, first - seen), asked.limit - len(rows))
            rows += to_rows(location_id, some.select(HISTORY.names))
            seen += table.num_rows
        meta = asked.meta(seen).model_dump()
        return Response(_encode({"meta": meta, "results": rows}), media_type="application/json")

    def _file(self, location_id: int, form: str, wanted: Any) -> Response:
        """Return all of a window; nothing is sent before all of it was read, so that no file is half a file."""
        from openaq_pipeline.reading.formats import FORMATS  # noqa: PLC0415

        if not self._downloads.acquire(blocking=False):
            raise Failure(503, "Too many are fetching files", "Ask again.", {"Retry-After": "10"})
        file: IO[bytes] = SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - it is closed once it is sent
        rows = 0

        def close() -> None:
            file.close()
            self._downloads.release()

        try:
            with FORMATS[form](file) as write:
                for table in self._tables(location_id, wanted):
                    rows += table.num_rows
                    _check_size(rows)
                    write(table)
            size = file.tell()
        except BaseException as error:
            close()
            if isinstance(error, OSError):
                hint = "See that the folder for temporary files (TMPDIR) has room and can be written."
                raise Failure(503, f"The file can't be made: {error.strerror}", hint) from error
            raise
        headers = {
            "Content-Length": str(size),
            "Content-Disposition": f'attachment; filename="{_name(location_id, wanted.window)}.{form}"',
            "Link": f'</api/v1/locations/{location_id}>; rel="license"',
        }
        return _Download(file, close, media_type=TYPES[form], headers=headers)

    def _tables(self, location_id: int, wanted: Any) -> Iterator[Any]:
        """Yield the rows of a window a year at a time."""
        from openaq_pipeline.reading.folder import years  # noqa: PLC0415
        from openaq_pipeline.reading.location import read  # noqa: PLC0415

        for span in _spans(wanted.window, years(self._folder, location_id)):
            table = read(self._folder, location_id, msgspec.structs.replace(wanted, window=span))
            if table.num_rows:
                yield table


def _check_size(rows: int) -> None:
    if rows > MOST_ROWS:
        hint = "Ask for a shorter time, or see `openaq-pipeline export`."
        raise Failure(422, f"These are more than {MOST_ROWS:,} measurements", hint)


def _spans(window: Window, years: list[int]) -> Iterator[Window]:
    """Yield a window in parts that abut, cut where years of the history end."""
    start = window.start
    for year in years[:-1]:
        cut = datetime(year + 1, 1, 1, tzinfo=UTC)
        if start < cut < window.end:
            yield Window(start, cut)
            start = cut
    yield Window(start, window.end)


def _name(location_id: int, window: Window) -> str:
    """Return what a file is called; what ends at midnight ends with the day before."""
    ends = [f"{window.start:%Y-%m-%d}"] if window.start.year > 1 else []
    ends += [f"{window.end - datetime.resolution:%Y-%m-%d}"] if 1 < window.end.year < 9999 else []
    return "_".join([f"location_{location_id}", *ends])


class _Download(StreamingResponse):
    """A file that is sent in pieces, and closed however that ends."""

    def __init__(self, file: IO[bytes], close: Callable[[], None], *, media_type: str, headers: dict[str, str]) -> None:
        file.seek(0)
        super().__init__(iter(lambda: file.read(PIECE_BYTES), b""), media_type=media_type, headers=headers)
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()
