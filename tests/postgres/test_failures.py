"""A database that is away, refuses, hangs or is killed stops no files, and is caught up afterwards."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from openaq_pipeline.errors import ConfigError, FatalError, PipelineError, RetriableError
from openaq_pipeline.mirror import after_run, sync_all
from openaq_pipeline.settings import PostgresSettings, Settings, StorageSettings
from openaq_pipeline.storage.postgres import connection
from tests.postgres.copies import Copy, by_key
from tests.postgres.folders import END, rows, write_history, write_live
from tests.postgres.server import PASSWORD, USER, Server, binaries

WRONG = "T0p-s3cr3t"


def pointed_at(copy: Copy, dsn: str) -> Settings:
    postgres = PostgresSettings(enabled=True, dsn=SecretStr(dsn))
    return copy.settings.model_copy(update={"storage": StorageSettings(postgres=postgres)})


def addresses(server: Server, database: str) -> dict[str, tuple[str, type[PipelineError], str]]:
    """Return wrong addresses, what they raise and what is said of them."""
    host = f"127.0.0.1:{server.port}"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    return {
        "no server": (f"postgresql://u:{WRONG}@127.0.0.1:{free}/d", RetriableError, "does not answer"),
        "no host": (f"postgresql://u:{WRONG}@no-such-host.invalid/d", RetriableError, "no such host"),
        "no socket": (f"host=/nonexistent user=u password={WRONG} dbname=d", RetriableError, "does not answer"),
        "bad password": (
            f"postgresql://{USER}:{WRONG}@{host}/{database}",
            FatalError,
            "refuses the user or the password",
        ),
        "no password": (f"postgresql://{USER}@{host}/{database}", FatalError, "refuses the user or the password"),
        "bad user": (f"postgresql://nobody:{WRONG}@{host}/{database}", FatalError, "refuses the user or the password"),
        "no database": (server.url("nothing"), FatalError, "no such database"),
        "no address": (f"my database, password {WRONG}", ConfigError, "is not the address"),
        "web address": (f"https://u:{WRONG}@example.org/d", ConfigError, "is not the address"),
        "bare @": (f"postgresql://u:p@{WRONG}@localhost/d", ConfigError, "can't be taken apart"),
        "bare /": (f"postgresql://u:{WRONG}/p@localhost/d", ConfigError, "can't be taken apart"),
        "bare / and digits": (f"postgresql://u:123/{WRONG}@localhost/d", ConfigError, "can't be taken apart"),
        "empty": (" ", ConfigError, "is not set"),
    }


@pytest.mark.parametrize(
    "case",
    [
        "no server",
        "no host",
        "no socket",
        "bad password",
        "no password",
        "bad user",
        "no database",
        "no address",
        "web address",
        "bare @",
        "bare /",
        "bare / and digits",
        "empty",
    ],
)
def test_a_wrong_address_is_one_clear_sentence_without_the_password(
    copy: Copy, cluster: Server, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    dsn, kind, said = addresses(cluster, copy.name)[case]
    settings = pointed_at(copy, dsn)
    with pytest.raises(kind) as caught:
        sync_all(settings)
    assert said in str(caught.value)
    assert caught.value.hint
    warning = after_run(settings, {})
    assert warning is not None
    assert said in warning
    assert warning in caplog.text
    for text in (str(caught.value.advice), warning, caplog.text):
        assert WRONG not in text
        assert PASSWORD not in text
    assert "\n" not in warning


def test_a_copy_that_is_switched_off_is_left_alone_and_asked_for_is_refused(copy: Copy) -> None:
    settings = Settings(data_dir=copy.folder)
    assert after_run(settings, {}) is None
    with pytest.raises(ConfigError, match="switched off"):
        sync_all(settings)


def test_a_user_who_may_not_make_the_schema_is_told_so(copy: Copy, cluster: Server) -> None:
    copy.do("CREATE ROLE weak LOGIN")
    try:
        with pytest.raises(FatalError, match="permission denied") as caught:
            sync_all(pointed_at(copy, cluster.dsn(copy.name).replace(USER, "weak")))
        assert "GRANT" in caught.value.hint
    finally:
        copy.do("DROP ROLE weak")


def test_a_schema_made_by_somebody_else_for_us_is_enough(copy: Copy, cluster: Server) -> None:
    copy.do("CREATE ROLE owner LOGIN")
    try:
        copy.do("CREATE SCHEMA openaq AUTHORIZATION owner")
        write_live(copy.folder, 7, live := rows(END, 3))
        assert sync_all(pointed_at(copy, cluster.dsn(copy.name).replace(USER, "owner"))).complete
        assert copy.rows() == by_key(live)
    finally:
        copy.do("DROP OWNED BY owner")
        copy.do("DROP ROLE owner")


def test_a_bug_in_the_sink_is_told_and_stops_no_run(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("made on purpose")

    monkeypatch.setattr(connection, "connected", broken)
    assert "this is a bug: KeyError" in str(after_run(copy.settings, {}))


def test_tables_changed_by_hand_are_one_sentence(copy: Copy) -> None:
    write_live(copy.folder, 7, rows(END, 3))
    copy.sync()
    copy.do("ALTER TABLE openaq.measurements ADD COLUMN mine text")
    write_live(copy.folder, 7, rows(END, 4))
    assert "behind" in str(after_run(copy.settings, {}))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Server, Copy]]:
    """A server that a test may ill-treat, and a copy in it."""
    import tempfile  # noqa: PLC0415

    found = binaries()
    if found is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql): nothing of its sink was tested")
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        server = Server(found, Path(name) / "s")
        server.create()
        server.start()
        server.make_database("copy")
        postgres = PostgresSettings(enabled=True, dsn=SecretStr(server.url("copy")))
        settings = Settings(data_dir=tmp_path / "data", storage=StorageSettings(postgres=postgres))
        try:
            yield (
                server,
                Copy(
                    settings,
                    lambda: psycopg.connect(server.dsn("copy"), autocommit=True, options="-c TimeZone=UTC"),
                    "copy",
                ),
            )
        finally:
            server.stop("immediate")


def test_a_database_that_is_down_is_a_warning_and_is_caught_up_afterwards(own: tuple[Server, Copy]) -> None:
    server, copy = own
    write_live(copy.folder, 7, first := rows(END, 5))
    copy.sync()
    server.stop()
    write_live(copy.folder, 7, more := [*first, *rows(END + timedelta(hours=5), 5)])
    warning = after_run(copy.settings, {})
    assert warning is not None
    assert "does not answer" in warning
    server.start()
    assert after_run(copy.settings, {}) is None
    assert copy.rows() == by_key(more)


def test_a_name_that_nobody_looks_up_is_given_up_in_time(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    write_live(copy.folder, 7, live := rows(END, 5))
    let_go, late = threading.Event(), []
    really = psycopg.connect

    def connect(*arguments: object, **named: object) -> psycopg.Connection:  # libpq looks names up in here
        let_go.wait(20)
        late.append(really(*arguments, **named))  # type: ignore[arg-type]
        return late[0]

    monkeypatch.setattr(psycopg, "connect", connect)
    monkeypatch.setattr(connection, "ALL_CONNECT_SECONDS", 0.2)
    began = time.monotonic()
    assert "can't be connected to in time" in str(after_run(copy.settings, {}))
    assert time.monotonic() - began < 5
    let_go.set()
    deadline = time.monotonic() + 10
    while not (late and late[0].closed) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert late[0].closed, "what comes too late is closed"
    monkeypatch.undo()
    copy.sync()
    assert copy.rows() == by_key(live)


def test_a_server_that_stands_still_is_given_up_in_time(
    own: tuple[Server, Copy], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, copy = own
    for number in range(1, 40):
        write_live(copy.folder, number, rows(END, 20, location_id=number, sensors=[number]))
    monkeypatch.setattr(connection, "STEP_SECONDS", 3.0)
    stopped: list[int] = []

    def freeze() -> None:
        deadline = time.monotonic() + 20
        while not stopped and time.monotonic() < deadline:
            stopped.extend(server.backends())
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)

    thread = threading.Thread(target=freeze)
    thread.start()
    began = time.monotonic()
    try:
        warning = after_run(copy.settings, {})
        assert time.monotonic() - began < 15
        assert warning is not None
        assert "behind" in warning
    finally:
        thread.join()
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert sync_all(copy.settings).complete
    assert copy.ask("SELECT count(*) FROM openaq.measurements") == [(39 * 20,)]


def test_the_time_after_a_run_is_limited_and_the_next_one_goes_on(copy: Copy) -> None:
    write_live(copy.folder, 7, live := rows(END, 5))
    assert "took too long" in str(after_run(copy.settings, {}, seconds=0.0))
    copy.sync()
    write_live(copy.folder, 7, live := rows(END, 6))
    assert after_run(copy.settings, {}) is None
    assert copy.rows() == by_key(live)


def marks_are_true(copy: Copy, part_rows: dict[tuple[int, str], int]) -> None:
    """Assert that each part that has a mark is wholly there, and that no row is there twice."""
    marks = copy.ask("SELECT location_id, part FROM openaq.sync_marks")
    counts = {
        (location_id, f"year={year}"): count
        for location_id, year, count in copy.ask("""
            SELECT location_id, extract(year FROM datetime AT TIME ZONE 'UTC')::int, count(*)
            FROM openaq.measurements GROUP BY 1, 2""")
    }
    for location_id, part in marks:
        assert counts[location_id, part] == part_rows[location_id, part]
    twice = copy.ask("SELECT 1 FROM openaq.measurements GROUP BY sensors_id, datetime HAVING count(*) > 1")
    assert twice == []


KILLS = 6


def test_killed_at_any_moment_nothing_is_lost_or_doubled(own: tuple[Server, Copy]) -> None:
    """The server dies at once (`pg_ctl stop -m immediate`) while a sync goes on, again and again."""
    server, copy = own
    chance = random.Random(7)
    past = {
        number: rows(datetime(2024, 12, 20, tzinfo=UTC), 24 * 24, location_id=number, sensors=[number, 100 + number])
        for number in range(1, 13)
    }
    part_rows: dict[tuple[int, str], int] = {}
    for number, found in past.items():
        write_history(copy.folder, number, found, END)
        for year in (2024, 2025):
            part_rows[number, f"year={year}"] = sum(row.datetime.year == year for row in found)
    copy.sync()  # the tables, and how long a whole sync takes
    copy.do("TRUNCATE openaq.measurements, openaq.sync_marks")
    seconds = sync_all(copy.settings).duration_seconds
    interrupted = 0
    for _ in range(KILLS):
        copy.do("TRUNCATE openaq.measurements, openaq.sync_marks")
        warnings: list[str | None] = []
        thread = threading.Thread(target=lambda: warnings.append(after_run(copy.settings, {})))  # noqa: B023
        thread.start()
        time.sleep(chance.uniform(0.05, 1.0) * seconds)
        server.stop("immediate")
        thread.join(60)
        interrupted += warnings != [None]
        server.start()
        marks_are_true(copy, part_rows)
        assert sync_all(copy.settings).complete
        assert copy.rows() == by_key(*past.values())
        marks_are_true(copy, part_rows)
    assert interrupted >= KILLS // 3, "the server was killed after the sync, not in it"


@pytest.mark.parametrize("moment", ["before COMMIT", "in COMMIT", "after COMMIT"])
def test_killed_around_the_commit_nothing_is_lost_or_doubled(
    own: tuple[Server, Copy], moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, copy = own
    write_history(copy.folder, 7, past := rows(datetime(2025, 1, 1, tzinfo=UTC), 24), END)
    copy.sync()
    copy.do("TRUNCATE openaq.measurements, openaq.sync_marks")
    kill_at(monkeypatch, moment, lambda: server.stop("immediate"))
    warning = after_run(copy.settings, {})
    assert warning is not None
    monkeypatch.undo()
    server.start()
    marks_are_true(copy, {(7, "year=2025"): len(past)})
    assert sync_all(copy.settings).complete
    assert copy.rows() == by_key(past)


def kill_at(monkeypatch: pytest.MonkeyPatch, moment: str, kill: Callable[[], None]) -> None:
    """Kill the server once, at a moment of the first COMMIT of rows: in it, the word is out and no answer has come."""
    run: Callable[..., object] = psycopg.Connection.execute

    def execute(self: psycopg.Connection, query: object, *more: object, **named: object) -> object:
        if query != "COMMIT":
            return run(self, query, *more, **named)
        if moment == "before COMMIT":
            kill()
        if moment == "in COMMIT":
            self.pgconn.send_query(b"COMMIT")
            self.pgconn.flush()
            kill()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        found = run(self, query, *more, **named)
        kill()
        return found

    monkeypatch.setattr(psycopg.Connection, "execute", execute)
