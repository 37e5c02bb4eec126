"""Hostile values in pages that are well-formed: each row is stored exactly, or set apart, and the rest goes on."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.faults import oracle
from tests.faults.conftest import Tally, Times
from tests.faults.faulty import Exchange
from tests.faults.net import LAST, LATER, Bench, bench, copied

Row = dict[str, Any]
Fate = Literal["page", "row", "kept"]
"""What becomes of it: the whole page is refused, the row goes to rejects/, or it is stored."""

TWO_DAYS, PAGE = 48, 54
"""Rows: of what is there, and of the page: 30 of since then, and 24 of before, by the daily sweep."""

SPOILT = 5
"""Which row of the page; it is a new one."""


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("old")) as made:
        yield made


def spoiling(change: Callable[[list[Row]], object], then: Callable[[bytes], bytes] = bytes) -> Callable[..., bool]:
    """Return a manner that changes the rows of a page, and then perhaps its bytes."""

    def manner(to: Exchange) -> bool:
        page = json.loads(to.good()[1])
        change(page["results"])
        return to.reply(then(json.dumps(page, ensure_ascii=False).encode()))

    return manner


def with_value(text: str) -> Callable[..., bool]:
    """Return a manner that puts a text, as it is, where the value of a row is."""
    return spoiling(lambda rows: rows[-SPOILT].update(value="@@"), lambda body: body.replace(b'"@@"', text.encode(), 1))


def with_end(stamp: object) -> Callable[..., bool]:
    def change(rows: list[Row]) -> None:
        rows[-SPOILT]["period"]["datetimeTo"]["utc"] = stamp

    return spoiling(change)


def with_units(text: str) -> Callable[..., bool]:
    """Return a manner that puts JSON text where the units of a row are."""

    def change(rows: list[Row]) -> None:
        rows[-SPOILT]["parameter"]["units"] = "@@"

    return spoiling(change, lambda body: body.replace(b'"@@"', text.encode("utf-8", "surrogatepass"), 1))


def without(*path: str) -> Callable[..., bool]:
    def change(rows: list[Row]) -> None:
        place = rows[-SPOILT]
        for name in path[:-1]:
            place = place[name]
        del place[path[-1]]

    return spoiling(change)


CASES: dict[str, tuple[Callable[..., bool], Fate]] = {
    "NaN": (with_value("NaN"), "page"),
    "-Infinity": (with_value("-Infinity"), "page"),
    "1e999": (with_value("1e999"), "row"),
    "-1e999": (with_value("-1e999"), "row"),
    "a number of 400 digits": (with_value("9" * 400), "row"),
    "1e308": (with_value("1e308"), "kept"),
    "the smallest number": (with_value("5e-324"), "kept"),
    "minus zero": (with_value("-0.0"), "kept"),
    "null": (with_value("null"), "kept"),
    "text": (with_value('"12.5"'), "row"),
    "true": (with_value("true"), "row"),
    "an object": (with_value("{}"), "row"),
    "a deep value": (with_value("[" * 900 + "]" * 900), "row"),
    "hexadecimal": (with_value("0x1F"), "page"),
    "two values": (with_value('1,"value":2'), "kept"),
    "the year 2099": (with_end("2099-01-01T00:00:00Z"), "kept"),
    "the year 0": (with_end("0000-01-01T00:00:00Z"), "row"),
    "the year 1": (with_end("0001-01-01T00:00:00Z"), "kept"),
    "the year 1, before it in UTC": (with_end("0001-01-01T00:00:00+14:00"), "row"),
    "the year 10000": (with_end("10000-01-01T00:00:00Z"), "row"),
    "after the end of the calendar": (with_end("9999-12-31T23:59:59-14:00"), "row"),
    "no zone": (with_end("2026-11-02T10:00:00"), "row"),
    "no such day": (with_end("2026-02-30T10:00:00Z"), "row"),
    "a leap second": (with_end("2026-11-02T10:59:60Z"), "row"),
    "a stamp of number": (with_end(1_793_000_000), "row"),
    "a stamp of null": (with_end(None), "row"),
    "a lone surrogate": (with_units('"\\ud800"'), "page"),
    "a surrogate in bytes": (with_units('"\ud800"'), "page"),
    "NUL": (with_units('"\\u0000"'), "kept"),
    "a bare control character": (with_units('"\x01"'), "page"),
    "a newline": (with_units('"µg\\n2026-01-01 ERROR forged"'), "kept"),
    "markup": (with_units('"<script>alert(1)</script><!channel>"'), "kept"),
    "10,000 characters": (with_units(f'"{"x" * 10_000}"'), "kept"),
    "right to left": (with_units('"\\u202egnp"'), "kept"),
    "units of null": (with_units("null"), "row"),
    "no value": (without("value"), "row"),
    "no parameter": (without("parameter"), "row"),
    "no period": (without("period"), "row"),
    "no end": (without("period", "datetimeTo"), "row"),
    "no flags": (without("flagInfo"), "kept"),
}


def test_a_hostile_value_is_stored_exactly_or_set_apart_and_costs_no_other_row(
    old: Bench, tmp_path: Path, times: Times, chance: random.Random, tally: Tally
) -> None:
    cases = chance.sample(list(CASES), times(14, len(CASES)))
    for number, case in enumerate(cases):
        with copied(old, tmp_path / str(number)) as made:
            meets_its_fate(made, case)
    tally(20, "faulty server, a hostile value", len(cases))


def meets_its_fate(made: Bench, case: str) -> None:
    """Assert that what `CASES` says becomes of a value, and that another run brings what it cost."""
    manner, fate = CASES[case]
    made.server.arm(manner, made.page)
    report = made.poll(LATER)
    assert not any(each.bug for each in report.locations), case
    oracle.check(made.folder)
    new = len(made.rows_of(made.target)) - TWO_DAYS
    assert report.locations[0].counts.rejected == (fate == "row"), case
    assert new == {"page": 0, "row": PAGE - 1, "kept": PAGE}[fate], case
    assert report.complete == (fate != "page"), case
    assert max(made.watermarks().values()) <= made.simulator.clock.now().isoformat(), case
    made.server.clear()
    assert made.poll(LAST).complete
    healed = oracle.check(made.folder, restarted=True)
    assert made.expected.items() <= healed.items(), case
    odd = len(healed) - len(made.expected)
    assert odd == ("year" in case and fate == "kept"), f"what is odd and was shown is kept: {case}"
