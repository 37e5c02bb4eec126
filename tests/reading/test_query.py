"""SQL over a data folder: the tables, what they hold, and what a query can't do."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from openaq_pipeline import load
from openaq_pipeline.errors import ConfigError, StorageError
from openaq_pipeline.model import Echo, LocationState, Measurement, Rhythm, SensorState
from openaq_pipeline.monitoring import history
from openaq_pipeline.monitoring.metrics import RunMetrics, metrics_of
from openaq_pipeline.reading import views
from openaq_pipeline.reading.query import connected, look, run
from openaq_pipeline.reports import RunReport
from openaq_pipeline.storage.sealed import history_folder
from openaq_pipeline.storage.state import StateFile
from tests.reading.folders import CC_BY, at, describe, location, series, store, write_history, write_live, write_sealed

DAILY = "SELECT sensors_id, date_trunc('day', datetime) AS day, avg(value) AS mean FROM measurements GROUP BY ALL"


def ask(folder: Path, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run(folder, sql, lambda rows: rows.read_all().to_pylist())
    return found


def one(folder: Path, expression: str, rest: str = "FROM measurements") -> Any:
    (found,) = ask(folder, f"SELECT {expression} AS it {rest}")
    return found["it"]


def opened(folder: Path, sql: str) -> dict[str, int]:
    """How many files of each kind DuckDB opens for a query."""
    with connected(folder, look(folder)) as connection:
        (plan,) = connection.execute(f"EXPLAIN (ANALYZE, FORMAT json) {sql}").fetchall()
    counts = {"READ_PARQUET": 0, "READ_JSON": 0}

    def walk(node: dict[str, Any]) -> None:
        extra = node.get("extra_info", {})
        if extra.get("Function") in counts:
            counts[extra["Function"]] += int(extra["Total Files Read"])
        for child in node.get("operator", node.get("children", [])):
            walk(child)

    walk(json.loads(plan[1]))
    return counts


def test_a_query_sees_what_load_gives(folder: Path, rows: list[Measurement]) -> None:
    found = run(
        folder, "FROM measurements ORDER BY location_id, datetime, sensors_id", lambda answer: answer.read_all()
    )
    assert found.to_pylist() == load(data_dir=folder).to_pylist()
    assert found.column_names == load(data_dir=folder).column_names
    assert found.num_rows == len(rows)


def test_what_an_interrupted_move_left_on_the_wrong_side_does_not_count(folder: Path) -> None:
    found = series(5, at("2025-01-01"), 24 * 60)
    write_history(folder, 5, found)
    write_sealed(folder, 5, at("2025-02-01"))
    write_live(folder, 5, found)
    write_history(folder, 7, series(7, at("2025-01-01"), 24))
    assert one(folder, "count(*)") == len(found)
    write_live(folder, 9, series(9, at("2024-01-01"), 1))  # from now on no bound is common to all location files
    assert one(folder, "count(*)") == len(found) + 2


@pytest.mark.parametrize("sealed", [None, at("2025-02-01"), at("2025-03-01")])
def test_live_only_and_history_only_are_fine(folder: Path, sealed: datetime | None) -> None:
    found = store(folder, 5, series(5, at("2025-01-31"), 48), sealed)
    if sealed == at("2025-03-01"):
        (folder / "location_5.json").unlink()
    assert one(folder, "count(*)") == len(found)
    assert one(folder, "sum(value)") == pytest.approx(sum(row.value or 0 for row in found))


def test_a_folder_with_nothing_but_names_has_empty_tables(folder: Path) -> None:
    describe(folder, location(5))
    assert one(folder, "count(*)") == one(folder, "count(*)", "FROM runs") == 0
    assert one(folder, "count(*)", "FROM sensors") == 2
    (folder / "locations.json").unlink()
    assert ask(folder, "FROM locations") == ask(folder, "FROM sensors") == []


def test_locations_have_all_that_is_known_and_their_licences_as_a_list(folder: Path) -> None:
    describe(folder, location(5), location(6, licenses=()))
    first, second = ask(folder, "FROM locations ORDER BY location_id")
    known = msgspec.to_builtins(location(5), builtin_types=(datetime,))
    licenses = [msgspec.to_builtins(CC_BY)]
    del known["id"], known["sensors"]
    assert first == {"location_id": 5, **known, "licenses": licenses}
    assert (first["licenses"], second["licenses"]) == (licenses, [])
    assert {"location_id", *location(5).__struct_fields__} - {"id", "sensors"} == set(first)
    assert first["fetched"] == location(5).fetched


def test_sensors_come_with_what_is_remembered_of_them(folder: Path) -> None:
    describe(folder, location(5))
    state = StateFile(folder)
    known: dict[str, Any] = {"echoes": (Echo("1f", 3),), "rhythm": Rhythm(3600, at("2025-01-01"))}
    parked = SensorState(at("2025-01-01"), failures=3, parked_until=at("2025-01-02"), last_error="a 500", **known)
    state.put(5, LocationState(sensors={51: parked}))
    state.save()
    first, second = ask(folder, "FROM sensors ORDER BY sensors_id")
    assert (first["location_id"], first["sensors_id"], first["parameters_id"], first["parameter"]) == (5, 51, 2, "pm25")
    assert (first["watermark"], first["failures"], first["parked_until"]) == (at("2025-01-01"), 3, at("2025-01-02"))
    assert json.loads(first["rhythm"])[0] == 3600
    assert [json.loads(echo) for echo in first["echoes"]] == [["1f", 3]]
    assert (second["sensors_id"], second["failures"], second["watermark"]) == (52, None, None)


def test_runs_are_those_of_the_metrics(folder: Path) -> None:
    metrics = metrics_of(RunReport(at("2025-01-01"), 3.5, 7, (), None))
    history.append(folder, metrics, at("2025-01-01"))
    history.append(folder, msgspec.structs.replace(metrics, requests=9), at("2025-01-01"))
    found = ask(folder, "FROM runs ORDER BY requests")
    assert list(found[0]) == list(RunMetrics.__struct_fields__)
    assert [run["requests"] for run in found] == [7, 9]
    assert found[0]["started"] == at("2025-01-01")


def test_times_are_utc_whatever_zone_the_machine_is_in(folder: Path, rows: list[Measurement]) -> None:
    code = (
        "import sys; from pathlib import Path; from openaq_pipeline.reading.query import run; "
        "sql = \"SELECT min(datetime)::VARCHAR AS it FROM measurements WHERE datetime > '2025-01-31'\"; "
        "print(run(Path(sys.argv[1]), sql,"
        " lambda rows: rows.read_all().to_pylist())[0]['it'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env={"TZ": "Asia/Kathmandu", "PYTHONPATH": "dataset"},
        capture_output=True,
        text=True,
        check=True,
    )
    first = min(row.datetime for row in rows if row.datetime > at("2025-01-31"))
    assert done.stdout.strip() == f"{first:%Y-%m-%d %H:%M:%S}+00"


def test_only_the_years_and_locations_asked_for_are_opened(folder: Path, rows: list[Measurement]) -> None:
    assert rows
    assert opened(folder, "SELECT avg(value) FROM measurements") == {"READ_PARQUET": 4, "READ_JSON": 3}
    assert opened(folder, "SELECT avg(value) FROM measurements WHERE location_id = 5") == {
        "READ_PARQUET": 2,
        "READ_JSON": 1,
    }
    assert opened(folder, "SELECT avg(value) FROM measurements WHERE datetime < '2025-01-01'")["READ_PARQUET"] == 2
    assert opened(folder, "SELECT avg(value) FROM measurements WHERE datetime > '2026-01-01'")["READ_PARQUET"] == 0


def test_live_files_are_not_opened_for_times_before_all_of_them(folder: Path) -> None:
    for location_id in (5, 7):
        store(folder, location_id, series(location_id, at("2025-01-01"), 24 * 60), at("2025-02-01"))
    assert opened(folder, "SELECT avg(value) FROM measurements WHERE datetime < '2025-01-05'")["READ_JSON"] == 0
    assert one(folder, "count(*)") == 2 * 2 * 24 * 60


def test_files_that_only_look_like_a_locations_are_none(folder: Path, rows: list[Measurement]) -> None:
    for name in (
        "location_7 (copy).json",
        "location_7.json.damaged-20250101T000000Z",
        "location_07.json",
        "location_x.json",
        "location_\uff17.json",
        f"location_{9**40}.json",
    ):
        (folder / name).write_bytes((folder / "location_7.json").read_bytes())
    assert one(folder, "count(*)") == len(rows)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO layout.sealed SELECT 1, now()",
        "COPY (SELECT 1) TO '{folder}/x.csv'",
        "COPY (PIVOT measurements ON parameter USING avg(value)) TO '{folder}/x.csv'",
        "EXPORT DATABASE '{folder}/x'",
        "ATTACH '{folder}/x.db'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/x.csv'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "SELECT 1; SELECT 2",
        "SELECT 1; COPY (SELECT 1) TO '{folder}/x.csv'",
        "SELECT 1) TO '{folder}/x.csv' --",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_csv('{folder}/../outside.csv')",
        "SELECT getenv('HOME')",
        "",
        "-- nothing",
    ],
)
def test_nothing_is_changed_and_nothing_else_is_read(folder: Path, rows: list[Measurement], sql: str) -> None:
    assert rows
    (folder.parent / "outside.csv").write_text("a,b\n1,2\n")
    before = sorted(folder.rglob("*"))
    with pytest.raises(ConfigError):
        ask(folder, sql.replace("{folder}", str(folder).replace("'", "''")))
    assert sorted(folder.rglob("*")) == before


def test_a_pivot_and_a_summary_are_queries(folder: Path, rows: list[Measurement]) -> None:
    assert rows
    found = ask(
        folder, "PIVOT (SELECT location_id, parameter, value FROM measurements) ON parameter USING count(value);"
    )
    assert sorted(found[0]) == ["location_id", "o3", "pm25"]
    assert len(ask(folder, "SUMMARIZE measurements")) == 13
    assert {row["name"] for row in ask(folder, "SHOW TABLES")} == {"measurements", "locations", "sensors", "runs"}


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT valu FROM measurements", 'Referenced column "valu" not found'),
        ("SELECT * FROM measurment", 'Did you mean "measurements"?'),
        ("SELECT parameter::INT FROM measurements", "Could not convert string"),
        ("SELECT error('no')", "no"),
    ],
)
def test_a_slip_is_told_in_one_sentence(folder: Path, rows: list[Measurement], sql: str, said: str) -> None:
    assert rows
    with pytest.raises(ConfigError) as caught:
        ask(folder, sql)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_query_of_small_files_wants_little_memory(
    folder: Path, rows: list[Measurement], monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(database: str, config: dict[str, Any]) -> duckdb.DuckDBPyConnection:
        return duckdb_connect(database, config={**config, "memory_limit": "128MB", "threads": 1})

    duckdb_connect = duckdb.connect
    monkeypatch.setattr("openaq_pipeline.reading.query.duckdb.connect", small)
    assert one(folder, "count(*)") == len(rows)
    assert ask(folder, DAILY)


def test_one_object_larger_than_most_is_read_all_the_same(folder: Path) -> None:
    path = folder / "metrics.json"
    path.write_text(json.dumps({"runs": [], "padding": "x" * (views.OBJECT_BYTES + 1)}))
    assert one(folder, "count(*)", "FROM runs") == 0


def test_a_damaged_location_file_is_named(folder: Path, rows: list[Measurement]) -> None:
    assert rows
    path = folder / "location_7.json"
    body = path.read_bytes()
    for damage in (b"", body[:-40], body.replace(b'"sensors_id":', b'"sensor":', 1), b"nothing"):
        path.write_bytes(damage)
        with pytest.raises(StorageError, match=r"location_7\.json"):
            ask(folder, DAILY)


def test_a_damaged_history_file_is_named(folder: Path, rows: list[Measurement]) -> None:
    assert rows
    path = history_folder(folder, 11) / "year=2024/measurements.parquet"
    body = path.read_bytes()
    for damage in (b"", body[:-9], body[:40] + bytes(200) + body[240:]):
        path.write_bytes(damage)
        with pytest.raises(StorageError, match=r"location_id=11/year=2024/measurements\.parquet"):
            ask(folder, "SELECT avg(value), max(datetime_local), sum(sensors_id), max(first_seen) FROM measurements")


def test_a_time_with_an_offset_is_the_same_moment(folder: Path) -> None:
    found = series(5, at("2025-01-01"), 3)
    write_live(folder, 5, found)
    path = folder / "location_5.json"
    path.write_bytes(path.read_bytes().replace(b'"2025-01-01T02:00:00Z"', b'"2025-01-01T07:45:00+05:45"'))
    assert one(folder, "max(datetime)") == datetime(2025, 1, 1, 2, tzinfo=UTC)
