from __future__ import annotations

from datetime import UTC, datetime

from tests.postgres.copies import Copy, by_key
from tests.postgres.folders import END, rows, write_history, write_live

PAST = rows(datetime(2025, 12, 31, tzinfo=UTC), 48)
LIVE = rows(END, 30)


def test_a_fresh_database_holds_every_row_of_the_files_as_it_is_there(copy: Copy) -> None:
    write_history(copy.folder, 7, PAST, END)
    write_live(copy.folder, 7, LIVE)
    report = copy.sync()
    assert report.problems == ()
    assert report.complete
    assert (report.rows, report.written) == (156, 156)
    assert copy.rows() == by_key(PAST, LIVE)
