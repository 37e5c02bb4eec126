from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openaq_pipeline.web import wording

NOW = datetime(2026, 11, 28, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("two\nlines\r\tand a\x00tab", "two lines and a tab"),
        ("\u202egnirts\u202c \u2066x\u2069", "gnirts x"),
        ("a\u200b\ufeff\u00adb", "ab"),
        ("z" + "\u0301" * 50, "z" + "\u0301" * 3),
        ("half \ud83d a pair", "half ? a pair"),
        ("काठमाडौं 👩‍🔬", "काठमाडौं 👩‍🔬"),
        (None, ""),
    ],
)
def test_a_name_becomes_one_harmless_line(hostile: str | None, shown: str) -> None:
    assert wording.plain(hostile) == shown


@given(st.text(st.characters(), max_size=300) | st.text("\u202e\n\u0301x🙂", max_size=3000))
def test_any_name_becomes_a_line_of_bounded_length_that_can_be_sent(name: str) -> None:
    shown = wording.plain(name)
    assert len(shown) <= wording.NAME_CHARACTERS
    assert len(shown.splitlines()) <= 1
    shown.encode()


def test_a_long_name_is_cut_visibly() -> None:
    assert wording.plain("x" * 10_000) == "x" * 119 + "…"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"), (0.0184, "0.0184"), (1.234, "1.23"), (23.31, "23.3"), (-12.0, "−12"), (1234.6, "1,235"),
        (0.0, "0"), (-0.0, "0"), (0.0004, "0.000400"), (0.00021, "0.000210"), (-0.5, "−0.500"), (0.9996, "1.00"),
        (9.996, "10.0"), (99.96, "100"), (1e-6, "0.00000100"), (-1e-12, "−1.00e−12"), (5e-324, "4.94e−324"),
        (1234567.0, "1,234,567"), (12345678.9, "1.23e7"), (1.7e308, "1.70e308"), (1.125, "1.13"),
    ],
)  # fmt: skip
def test_a_value_has_three_digits_that_count(value: float | None, shown: str) -> None:
    assert wording.number(value) == shown


def test_what_is_no_number_any_more_is_said_and_breaks_nothing() -> None:
    assert wording.number(float("inf")) == "inf"


def test_a_share_is_whole_only_if_nothing_is_missing() -> None:
    assert [wording.percent(value) for value in (100, 99.999, 87.26, None)] == ["100 %", "99.9 %", "87.3 %", "–"]


def test_moments_are_told_from_now() -> None:
    assert wording.when(NOW + timedelta(minutes=41), NOW) == "in 41 min"
    assert wording.when(NOW - timedelta(hours=3, minutes=5), NOW) == "3 h 5 min ago"
    assert [wording.took(seconds) for seconds in (0.314, 48.2, 185, None)] == ["0.31 s", "48 s", "3 min 5 s", "–"]


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)", "JAVASCRIPT:alert(1)", "data:text/html,x", "//elsewhere.example", "/here", "http://",
        "https://user@bank.example", "https://a.example/\u202etxt", "http://[", "", None,
    ],
)  # fmt: skip
def test_only_plain_web_addresses_are_linked_to(address: str | None) -> None:
    assert wording.web_address(address) is None


def test_a_web_address_stays_as_it_is() -> None:
    assert wording.web_address("https://openaq.org/a?b=c#d") == "https://openaq.org/a?b=c#d"


def test_a_place_is_written_as_in_an_atlas() -> None:
    assert wording.coordinates(27.73821, -85.3361) == "27.7382° N, 85.3361° W"
