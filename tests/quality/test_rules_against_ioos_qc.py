"""The series tests beside their reference, ioos_qc, on regular hourly series.

Where the two differ on purpose:
* ioos_qc has a verdict "suspect" and a verdict "fail"; here one limit decides, so both get the same limit.
* ioos_qc's flat line counts rows and needs a range below the tolerance; here times and equality decide. On
hourly
  series of whole numbers, with a tolerance of a half, that is the same. Series of fewer than three rows
  always pass there; here two equal rows that are far enough apart are a flat line (possible only with a limit
  of at most `neighbour_hours`).
* ioos_qc has no verdict on a row beside a missing one ("unknown"), and its flat line takes a missing row for
one
  that fits; here neighbours are the nearest values. The series here therefore have no missing rows.
* Spike: see `test_spikes_are_those_that_ioos_qc_finds_with_both_of_its_methods`.
* Rate of change: ioos_qc divides by the time step however short; here a step counts as an hour at least.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.quality.rules import Judge
from tests.quality.rows import START, VALIDATION, hourly

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ioos_qc import qartod

FLAT_SECONDS, SPIKE, RATE = 6 * 3600, 100, 150
SUSPECT_OR_WORSE = (qartod.QartodFlags.SUSPECT, qartod.QartodFlags.FAIL)

# Few different whole numbers, so that runs, steps and exact limits all occur.
SERIES = st.lists(st.sampled_from([0, 5, 5, 5, 5, 6, 105, 106, 155, 156, 300]), min_size=3, max_size=60)
RUNS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 12)), min_size=1, max_size=8).map(
    lambda runs: [value for value, length in runs for _ in range(length)]
)


def ours(rule: str, values: Sequence[float]) -> list[int]:
    found = Judge(VALIDATION).issues(hourly(values))
    return [place for place, issues in enumerate(found) if rule in issues]


def theirs(test: Callable[..., object], values: Sequence[float], **limits: object) -> list[int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flags = np.asarray(test(values, **limits))
    return [int(place) for place in np.flatnonzero(np.isin(flags, SUSPECT_OR_WORSE))]


def times(values: Sequence[float]) -> list[np.datetime64]:
    return [np.datetime64((START + timedelta(hours=hour)).replace(tzinfo=None)) for hour in range(len(values))]


@given(st.one_of(SERIES, RUNS).filter(lambda values: len(values) >= 3))
def test_flat_lines_are_those_that_ioos_qc_finds(values: list[int]) -> None:
    expected = theirs(
        qartod.flat_line_test,
        values,
        tinp=times(values),
        suspect_threshold=FLAT_SECONDS,
        fail_threshold=FLAT_SECONDS,
        tolerance=0.5,
    )
    assert ours("flat_line", values) == expected


@given(SERIES)
def test_spikes_are_those_that_ioos_qc_finds_with_both_of_its_methods(values: list[int]) -> None:
    # "average" is the formula; "differential" asks that the value leaves both neighbours in the same
    # direction, for which half of the limit is ours. Without it, the rows beside a spike and beside a step
    # are flagged as well.
    average = theirs(qartod.spike_test, values, suspect_threshold=SPIKE, method="average")
    differential = theirs(qartod.spike_test, values, suspect_threshold=SPIKE / 2, method="differential")
    assert ours("spike", values) == sorted(set(average) & set(differential))


@given(SERIES)
def test_too_fast_changes_are_those_that_ioos_qc_finds(values: list[int]) -> None:
    # Half a unit more than a whole number: the two sides round differently at the very limit.
    limit_per_second = (RATE + 0.5) / 3600
    expected = theirs(qartod.rate_of_change_test, values, tinp=times(values), threshold=limit_per_second)
    assert ours("rate_of_change", values) == expected
