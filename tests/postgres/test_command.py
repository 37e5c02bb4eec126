"""`sync-postgres` and the preflight check, as users meet them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.conftest import Finished, Program
from tests.postgres.copies import Copy, by_key
from tests.postgres.folders import END, rows, write_history, write_live
from tests.postgres.server import PASSWORD, USER, Server

PAST, LIVE = rows(datetime(2025, 1, 1, tzinfo=UTC), 30), rows(END, 5)


def run(copy: Copy, command: str, dsn: str, *arguments: str, enabled: bool = True) -> Finished:
    program = Program(copy.folder.parent)
    program.config.write_text(json.dumps({"locations": [7], "storage": {"postgres": {"enabled": enabled}}}))
    del program.env["OPENAQ_API_KEY"]
    done = program.run(command, "--data-dir", str(copy.folder), *arguments, DATABASE_URL=dsn)
    assert PASSWORD not in done.out + done.err
    return done


def test_sync_postgres_loads_all_and_says_a_line_for_each_location(copy: Copy, cluster: Server) -> None:
    write_history(copy.folder, 7, PAST, END)
    write_live(copy.folder, 7, LIVE)
    done = run(copy, "sync-postgres", cluster.url(copy.name))
    assert done.code == 0, done.err
    assert "[1/1] location 7: 70 rows compared, 70 new or changed" in done.err
    assert done.out.startswith("1 location, complete: 70 rows compared, 70 new or changed")
    assert copy.rows() == by_key(PAST, LIVE)
    assert "[1/1] location 7: nothing new" in run(copy, "sync-postgres", cluster.url(copy.name)).err


def test_sync_postgres_exits_1_and_says_why_when_the_database_is_not_there(copy: Copy) -> None:
    done = run(copy, "sync-postgres", f"postgresql://{USER}:hidden-one@127.0.0.1:1/d")
    assert done.code == 1
    assert "Error: PostgreSQL at 127.0.0.1:1, database d does not answer." in done.err
    assert "hidden-one" not in done.err + done.out


def test_a_user_and_a_database_called_postgres_garble_no_message(copy: Copy) -> None:
    done = run(copy, "sync-postgres", "postgresql://postgres:hidden-one@127.0.0.1:1/postgres", "--debug")
    assert "at 127.0.0.1:1, database postgres does not answer" in done.err
    assert "hidden-one" not in done.err + done.out


def test_sync_postgres_exits_1_when_a_file_is_damaged_and_2_without_an_address(copy: Copy, cluster: Server) -> None:
    write_live(copy.folder, 7, LIVE)
    (copy.folder / "location_8.json").write_text("[\n{")
    done = run(copy, "sync-postgres", cluster.url(copy.name))
    assert done.code == 1
    assert "location_8.json is damaged" in done.err
    assert "2 locations, not complete, 1 problem" in done.out
    assert run(copy, "sync-postgres", "").code == 2
    off = run(copy, "sync-postgres", cluster.url(copy.name), enabled=False)
    assert off.code == 2
    assert "switched off" in off.err


@pytest.mark.parametrize(("role", "status"), [(USER, "ok"), ("guest", "failed")])
def test_preflight_says_whether_the_copy_can_be_kept(copy: Copy, cluster: Server, role: str, status: str) -> None:
    copy.do("CREATE ROLE guest LOGIN")
    try:
        checks = run(copy, "preflight", cluster.dsn(copy.name).replace(USER, role), "--json").json["checks"]
    finally:
        copy.do("DROP ROLE guest")
    (found,) = [check for check in checks if check["name"] == "PostgreSQL"]
    assert found["status"] == status, found
    assert copy.ask("SELECT to_regnamespace('openaq')") == [(None,)], "nothing was changed"


def test_preflight_names_a_database_that_is_away_and_is_silent_where_none_is_wanted(copy: Copy) -> None:
    away = "postgresql://u:hidden-one@127.0.0.1:1/d"
    checks = run(copy, "preflight", away, "--json").json["checks"]
    (found,) = [check for check in checks if check["name"] == "PostgreSQL"]
    assert found["status"] == "failed"
    assert "does not answer" in found["message"]
    checks = run(copy, "preflight", away, "--json", enabled=False).json["checks"]
    assert "PostgreSQL" not in {check["name"] for check in checks}
