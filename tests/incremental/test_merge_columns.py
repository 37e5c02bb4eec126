"""The merge of Arrow columns tells and keeps the same as the merge of rows, which says what is right."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from openaq_pipeline.columns import HISTORY, to_rows, to_table
from openaq_pipeline.incremental import columns
from openaq_pipeline.incremental.merge import merge
from openaq_pipeline.model import Key, Measurement
from tests.measurements import measurement
from tests.often import examples

START = datetime(2026, 3, 1, tzinfo=UTC)
HERE = 7

rows = st.builds(
    lambda value, hour, sensors_id, source, facts, local, seen: msgspec.structs.replace(
        measurement(
            value, START + timedelta(hours=hour), first_seen=START + timedelta(days=seen), sensors_id=sensors_id
        ),
        source=source,
        parameters_id=facts[0],
        interval_seconds=facts[1],
        has_flags=facts[2],
        units=facts[3],
        parameter=facts[4],
        datetime_local=local,
    ),
    st.sampled_from([None, 0.0, 1.5]),
    st.integers(0, 5),
    st.integers(71, 73),
    st.sampled_from(["api", "archive", "latest"]),
    st.tuples(
        st.sampled_from([None, 2]),
        st.sampled_from([None, 3600, 900]),
        st.sampled_from([None, True, False]),
        st.sampled_from(["ppm", "ppb"]),
        st.sampled_from(["o3", "ozone"]),
    ),
    st.sampled_from(["here", "there"]),
    st.integers(1, 9),
)


def without_issues(found: list[Measurement]) -> list[Measurement]:
    return [msgspec.structs.replace(row, issues=()) for row in found]


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(rows, max_size=25), st.lists(rows, max_size=25))
def test_columns_merge_as_rows_do(before: list[Measurement], incoming: list[Measurement]) -> None:
    stored = merge([], before).rows
    right = merge(stored, incoming)
    found = columns.merge(to_table(stored), to_table(incoming))
    merged = to_rows(HERE, found.rows)
    assert merged == sorted(right.rows, key=lambda row: row.key)
    became = {row.key: what for row, what in zip(merged, found.became.tolist(), strict=True)}
    assert keys(became, columns.NEW) == right.new
    assert keys(became, columns.REVISED) == right.revised
    assert keys(became, columns.IDENTICAL) == right.read - right.new - right.revised
    known = {row.key: row for row in stored}
    assert {row.key for row, touched in zip(merged, found.touched.tolist(), strict=True) if touched} == {
        row.key for row in merged if row != known.get(row.key)
    } | right.revised
    sent = Counter(row.sensors_id for row in incoming)
    assert found.repeated == sent - Counter(key.sensors_id for key in right.read)


def keys(became: dict[Key, int], what: int) -> set[Key]:
    return {key for key, found in became.items() if found == what}


def test_nothing_and_nothing_is_nothing() -> None:
    nothing = HISTORY.empty_table()
    assert columns.merge(nothing, nothing).rows.num_rows == 0
