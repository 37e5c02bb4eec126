"""What reads bytes that anybody may have written, and what it may raise for them: nothing but errors that are expected.

A target takes bytes; whatever it raises is a find. `SEEDS` are good inputs, from which those that come near are made.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from openaq_pipeline import columns, config
from openaq_pipeline.daemon.last_run import last_start
from openaq_pipeline.errors import PipelineError
from openaq_pipeline.incremental.cron import Cron
from openaq_pipeline.model import Measurement
from openaq_pipeline.monitoring import history as metrics
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.openaq import archive_lines, parse
from openaq_pipeline.openaq.answers import Answer, error_of
from openaq_pipeline.redact import MASK, Redactor, one_line
from openaq_pipeline.storage import licenses, remains, salvage, sealed, selections
from openaq_pipeline.storage.checks import year
from openaq_pipeline.storage.history import WRITING, History
from openaq_pipeline.storage.locations import LocationFiles
from openaq_pipeline.storage.metadata import Metadata
from openaq_pipeline.storage.owed import Owed
from openaq_pipeline.storage.progress import Progress
from openaq_pipeline.storage.state import StateFile

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LOCATION, SENSOR = 7, 70

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a file a run, a thousand runs a second

Target = Callable[[bytes], object]

ROW = {
    "value": 7.0,
    "parameter": {"id": 2, "name": "pm25", "units": "µg/m³", "displayName": None},
    "period": {
        "label": "raw",
        "interval": "01:00:00",
        "datetimeTo": {"utc": "2026-11-23T11:00:00Z", "local": "2026-11-23T16:45:00+05:45"},
    },
    "flagInfo": {"hasFlags": False},
}
PLACE = {
    "id": LOCATION,
    "name": "Somewhere",
    "timezone": "Asia/Kathmandu",
    "country": {"code": "NP", "name": "Nepal"},
    "sensors": [{"id": SENSOR, "parameter": ROW["parameter"]}],
    "licenses": [{"id": 1, "name": "CC0", "attribution": {"name": "x", "url": None}, "dateFrom": "2016-01-30"}],
}
STORED = Measurement(
    LOCATION, SENSOR, 2, "pm25", "µg/m³", 7.0, NOW, "2026-11-23T17:45:00+05:45", 3600, False, (), "api", NOW
)
STATE = (
    b'{"version":1,"consecutive_failures":0,"locations":{"7":{"last_fetch_time":"2026-11-23T12:00:00Z",'
    b'"last_successful_run":null,"sensors":{"70":{"watermark":"2026-11-23T11:00:00Z","failures":0}}}}}'
)
LINES = (
    b'"location_id","sensors_id","location","datetime","lat","lon","parameter","units","value"\n'
    b'7,70,"Somewhere-7","2026-11-23T16:45:00+05:45",27.7,85.3,"pm25","ug/m3",12.5\n'
)


def page(results: object) -> bytes:
    return json.dumps({"meta": {"found": 1}, "results": results}).encode()


def _may_fail(read: Callable[[bytes], object]) -> Target:
    """Return a target that may refuse its input with one of our own errors, and no other."""

    def target(body: bytes) -> None:
        try:
            read(body)
        except (PipelineError, archive_lines.BadFile):
            return

    return target


def _as_file(name: str, read: Callable[[Path], object]) -> Target:
    """Return a target whose input is a file in a data folder."""

    def target(body: bytes) -> None:
        with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY) as folder:
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
            read(Path(folder))

    return _may_fail(target)


def _settings(body: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY) as folder:
        path = Path(folder, "config.yaml")
        path.write_bytes(body)
        config.load(config=path, environ={})


def _dotenv(body: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY) as folder:
        Path(folder, ".env").write_bytes(body)
        config._dotenv_of(Path(folder))


def _page(body: bytes) -> None:
    found = parse.page(body, location_id=LOCATION, sensors_id=SENSOR, now=NOW)
    for row in found.rows:
        assert salvage.decode_row(msgspec.json.encode(row)) == row, "what is read is stored exactly"
    for reject in found.rejects:
        msgspec.json.encode(reject)


def _answer(body: bytes) -> None:
    status = 200 + body[0] * 2 if body else 200
    error = error_of(Answer(status, {"content-type": "application/json"}, body[1:], 0.1), "/x")
    assert error is None or (len(str(error)) < 1000 and str(error).isprintable())


def _archive(body: bytes) -> None:
    content = archive_lines.unpack(body, 1_000_000)
    header, lines = archive_lines.header_of(content)
    archive_lines.rewrite(lines, header, 1)


def _lines(body: bytes) -> None:
    """As `_archive`, without the wrapping that no chance comes through."""
    header, lines = archive_lines.header_of(body)
    found = archive_lines.rewrite(lines, header, 1)
    assert archive_lines.untag(archive_lines.tag(lines, 1), 1) is not None
    assert found.marked.count(b',"~1"') >= 0


def _salvage(body: bytes) -> None:
    for row in salvage.salvage(body).rows:
        msgspec.json.encode(row)


def _cron(body: bytes) -> None:
    try:
        line = Cron(body.decode(errors="replace"), "Asia/Kathmandu")
    except ValueError:
        return
    assert line.after(NOW) > NOW


def _redact(body: bytes) -> None:
    secret, _, text = body.decode(errors="replace").partition("\n")
    cleaned = one_line(Redactor([secret])(text + secret + text))
    assert len(secret) < 4 or secret not in cleaned or secret in MASK


def _year(body: bytes) -> None:
    """All that reads a year of history: the store, what verify looks at, and what repair takes from it."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY) as folder:
        store = History(Path(folder))
        path = store.path(LOCATION, 2026)
        path.parent.mkdir(parents=True)
        path.write_bytes(body)
        year.look(path, 2026, NOW, ())
        remains.read(path)
        store.year(LOCATION, 2026)


def _year_seed() -> bytes:
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY) as folder:
        store = History(Path(folder))
        path = store.path(LOCATION, 2026)
        path.parent.mkdir(parents=True)
        pq.write_table(columns.to_table([STORED]), path, **WRITING)
        return path.read_bytes()


def _settings_seed() -> bytes:
    return Path(config.CHECKOUT, "config.yaml").read_bytes()


TARGETS: dict[str, tuple[Target, list[bytes]]] = {
    "settings": (
        _may_fail(_settings),
        [_settings_seed(), b"locations: [1, {country: NP}, planet]\napi: {timeout_seconds: 1e3}\n", b"a: &a [*a]"],
    ),
    "dotenv": (_may_fail(_dotenv), [b"OPENAQ_API_KEY=abc\n# x\nexport DATA_DIR='a b'\nA=${B}\n"]),
    "page": (_may_fail(_page), [page([ROW]), page([ROW, {**ROW, "value": None}]), page([1, {}])]),
    "latest": (
        _may_fail(parse.latest),
        [page([{"datetime": ROW["period"]["datetimeTo"], "value": 1, "sensorsId": 70, "locationsId": 7}])],  # type: ignore[index]
    ),
    "locations": (_may_fail(lambda body: parse.locations(body, NOW)), [page([PLACE])]),
    "entries": (_may_fail(parse.entries), [page([{"id": 2, "name": "pm25", "displayName": "PM2.5"}])]),
    "licences": (_may_fail(lambda body: parse.licenses(body, NOW)), [page([{"id": 1, "name": "CC0"}])]),
    "answer": (_answer, [b"\x00" + page([ROW]), b'\x96{"detail":[{"loc":["query","x"],"msg":"m"}]}', b"\xc8<html>"]),
    "archive": (_may_fail(_archive), [gzip.compress(LINES, mtime=0), gzip.compress(b"", mtime=0)]),
    "archive lines": (_may_fail(_lines), [LINES, LINES.replace(b'"', b"")]),
    "state": (
        _as_file(".state.json", lambda folder: StateFile(folder).load(NOW)),
        [STATE],
    ),
    "last run": (_as_file("metrics.json", last_start), [b'{"runs":[{"started":"2026-11-23T12:00:00Z"}]}']),
    "metrics": (_as_file("metrics.json", metrics.read), [b'{"runs":[]}']),
    "descriptions": (_as_file("locations.json", lambda folder: Metadata(folder).load(NOW)), [b"[\n]\n"]),
    "terms": (_as_file("licenses.json", licenses.read), [b"[\n]\n"]),
    "selections": (
        _as_file(".selections.json", lambda folder: selections.read(folder, NOW)),
        [b'{"version":1,"selections":{"x":{"fetched":"2026-11-23T12:00:00Z","locations":[1],"sensors":2}}}'],
    ),
    "alerts": (
        _as_file(".alerts.json", lambda folder: AlertFile(folder).change(NOW, lambda book: book)),
        [b'{"id":"0d4f3f0e-6a35-5c0e-9f4e-6a0a5b7f7d11","version":1,"number":0,"open":{},"told":{},"outbox":[]}'],
    ),
    "seal": (
        _as_file(f".sealed/location_{LOCATION}.json", lambda folder: sealed.sealed_to(folder, LOCATION)),
        [b'{"version":1,"sealed_to":"2026-11-01T00:00:00Z"}'],
    ),
    "owed": (
        _as_file(f".repair/location_{LOCATION}.json", lambda folder: Owed(folder).spans(LOCATION)),
        [b'{"version":1,"spans":[{"start":"2026-11-01T00:00:00Z","end":"2026-11-02T00:00:00Z"}]}'],
    ),
    "backfill": (
        _as_file(f".backfill/location_{LOCATION}.json", lambda folder: Progress(folder).stored_files(LOCATION)),
        [b'{"version":1,"sensors":{},"archive":{"2026-11-01":[10,"2026-11-02T00:00:00Z",null]}}'],
    ),
    "rows": (
        _as_file(f"location_{LOCATION}.json", lambda folder: LocationFiles(folder).inspect(LOCATION, None, NOW)),
        [b"[\n" + msgspec.json.encode(STORED) + b"\n]\n", b"[]\n"],
    ),
    "salvage": (_salvage, [b"[\n" + msgspec.json.encode(STORED) + b",\n" + msgspec.json.encode(STORED)]),
    "year": (_may_fail(_year), [_year_seed()]),
    "cron": (_cron, [b"0 */2 * * *", b"5-10/2 0 1,15 JAN MON", b"* * 30 2 *"]),
    "redact": (_redact, [b"hunter22\nthe password is ", b"https://a.example/x?y=z\nto "]),
}
