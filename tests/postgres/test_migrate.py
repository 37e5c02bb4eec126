"""The schema: each migration once, by whoever comes first, and never a newer one's."""

from __future__ import annotations

import threading
from importlib import resources

import pytest

from openaq_pipeline.errors import FatalError
from openaq_pipeline.storage.postgres import migrate
from openaq_pipeline.storage.postgres.connection import connected
from openaq_pipeline.storage.postgres.migrate import Extension, chosen, flavour_of
from tests.postgres.copies import Copy, by_key
from tests.postgres.folders import END, rows, write_live
from tests.postgres.server import Server

NAMES = [file.name for file in resources.files(migrate.__package__).joinpath("migrations").iterdir()]


@pytest.mark.parametrize(
    ("extension", "flavour"),
    [
        (None, "plain"),
        (Extension(None, None), "plain"),
        (Extension("2.17.2", "timescale"), "timescaledb"),
        (Extension("2.11.0-dev", "timescale"), "timescaledb"),
        (Extension("2.17.2", "apache"), "plain"),
        (Extension("2.10.3", "timescale"), "plain"),
        (Extension("1.7.5", "timescale"), "plain"),
    ],
)
def test_a_new_database_takes_timescaledb_where_it_is_created_and_can_do_all(
    extension: Extension | None, flavour: str
) -> None:
    assert flavour_of(extension) == flavour


def test_each_flavour_gets_every_number_once_and_in_order() -> None:
    plain, timescaledb = chosen(NAMES, "plain"), chosen(NAMES, "timescaledb")
    for found in (plain, timescaledb):
        assert [migration.version for migration in found] == list(range(1, len(found) + 1))
    assert [m.file for m in plain] == ["0001_tables.sql", "0002_measurements.plain.sql", "0003_daily.plain.sql"]
    assert [m.file for m in timescaledb] == [
        "0001_tables.sql",
        "0002_measurements.timescaledb.sql",
        "0003_daily.timescaledb.sql",
    ]


def test_files_that_are_no_migrations_are_passed_over() -> None:
    names = ["README.md", "0001_a.sql~", "1_a.sql", "0002_b.oracle.sql", "0003_c.sql"]
    assert [migration.file for migration in chosen(names, "plain")] == ["0003_c.sql"]


def test_what_the_server_says_of_the_extension_decides_and_is_remembered(
    copy: Copy, cluster: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The view that is asked stands in for a server with TimescaleDB; its SQL itself does not run here."""
    copy.do("CREATE SCHEMA fake")
    copy.do("""CREATE VIEW fake.pg_available_extensions AS
               SELECT 'timescaledb'::name AS name, '2.17.2'::text AS installed_version""")
    asked: list[tuple[list[str], str]] = []

    def remember(names: list[str], flavour: migrate.Flavour) -> list[migrate.Migration]:
        asked.append((sorted(names), flavour))
        return [migration for migration in chosen(names, flavour) if migration.flavour is None]

    monkeypatch.setattr(migrate, "chosen", remember)
    dsn = f"{cluster.dsn(copy.name)} options='-c search_path=fake,pg_catalog'"
    with connected(dsn) as database:
        assert migrate.migrate(database) == "timescaledb"
    with connected(cluster.dsn(copy.name)) as database:
        assert migrate.migrate(database) == "timescaledb", "it keeps what it began as"
    assert asked == [(sorted(NAMES), "timescaledb")] * 2


def test_migrations_are_applied_once(copy: Copy) -> None:
    copy.sync()
    applied = copy.ask("SELECT * FROM openaq.schema_migrations ORDER BY version")
    assert [(version, file) for version, file, *_ in applied][1:] == [
        (migration.version, migration.file) for migration in chosen(NAMES, "plain")
    ]
    copy.sync()
    assert copy.ask("SELECT * FROM openaq.schema_migrations ORDER BY version") == applied


def test_an_older_schema_is_brought_up_and_keeps_its_rows(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    write_live(copy.folder, 7, live := rows(END, 3))
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "chosen", lambda names, flavour: chosen(names, flavour)[:2])
        copy.sync()
    assert copy.ask("SELECT to_regclass('openaq.measurements_daily')") == [(None,)]
    assert copy.sync().rows == 0
    assert copy.ask("SELECT sum(rows) FROM openaq.measurements_daily") == [(6,)]
    assert copy.rows() == by_key(live)


def test_a_newer_schema_is_refused_and_left_alone(copy: Copy) -> None:
    copy.sync()
    copy.do("INSERT INTO openaq.schema_migrations (version, file) VALUES (999, 'from the future')")
    write_live(copy.folder, 7, rows(END, 3))
    with pytest.raises(FatalError, match="newer version of this program"):
        copy.sync()
    assert copy.rows() == []


def test_a_migration_that_fails_leaves_nothing_of_itself(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    real = migrate._read

    def broken(migration: migrate.Migration) -> bytes:
        return real(migration) + (b"; SELECT 1/0" if migration.version == 2 else b"")

    with monkeypatch.context() as patch:
        patch.setattr(migrate, "_read", broken)
        with pytest.raises(Exception, match="division by zero"):
            copy.sync()
    assert copy.ask("SELECT max(version), to_regclass('openaq.measurements') FROM openaq.schema_migrations") == [
        (1, None)
    ]
    assert copy.sync().complete


def test_two_programs_that_begin_at_once_make_one_schema(copy: Copy) -> None:
    done: list[bool] = []
    threads = [threading.Thread(target=lambda: done.append(copy.sync().complete)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done == [True] * 4
