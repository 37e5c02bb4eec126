"""`licenses.json`: the terms of the licences that locations name."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from openaq_pipeline.errors import RetriableError, StorageError
from openaq_pipeline.model import LicenseTerms
from openaq_pipeline.storage import licenses
from tests.reading.folders import CC_BY, NO_SHARING, SEEN, location, terms


class Upstream:
    """OpenAQ's list of licences; counts how often it is asked for."""

    def __init__(self, *found: LicenseTerms) -> None:
        self.found = list(found)
        self.asked = 0

    def __call__(self) -> list[LicenseTerms]:
        self.asked += 1
        return self.found


def test_the_list_is_asked_for_when_a_location_names_a_licence_that_is_not_on_file(tmp_path: Path) -> None:
    upstream = Upstream(terms(41, redistribution=True))
    assert licenses.top_up(tmp_path, [location(5, ())], upstream, SEEN) is None
    assert upstream.asked == 0
    licenses.top_up(tmp_path, [location(5)], upstream, SEEN)
    assert licenses.read(tmp_path) == {41: terms(41, redistribution=True)}
    licenses.top_up(tmp_path, [location(5), location(6)], upstream, SEEN + timedelta(days=400))
    assert upstream.asked == 1


def test_a_licence_that_is_not_in_the_list_is_looked_for_once_a_day(tmp_path: Path) -> None:
    upstream = Upstream(terms(41, redistribution=True))
    places = [location(5, (CC_BY, NO_SHARING))]
    for hours in (0, 1, 23):
        licenses.top_up(tmp_path, places, upstream, SEEN + timedelta(hours=hours))
    assert upstream.asked == 1
    licenses.top_up(tmp_path, places, upstream, SEEN + timedelta(hours=25))
    assert upstream.asked == 2


def test_terms_that_are_listed_no_more_stay(tmp_path: Path) -> None:
    licenses.top_up(tmp_path, [location(5)], Upstream(terms(41, redistribution=True)), SEEN)
    later = SEEN + timedelta(days=2)
    licenses.top_up(tmp_path, [location(5, (NO_SHARING,))], Upstream(terms(99, redistribution=False)), later)
    assert sorted(licenses.read(tmp_path)) == [41, 99]


def test_a_refusal_leaves_the_file_as_it_is_and_is_the_callers(tmp_path: Path) -> None:
    def ask() -> list[LicenseTerms]:
        raise RetriableError("OpenAQ is away")

    with pytest.raises(RetriableError):
        licenses.top_up(tmp_path, [location(5)], ask, SEEN)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[{}]", b"\xff"])
def test_a_damaged_file_is_set_aside_and_asked_for_anew(tmp_path: Path, body: bytes) -> None:
    (tmp_path / licenses.NAME).write_bytes(body)
    with pytest.raises(StorageError, match=r"licenses\.json is damaged"):
        licenses.read(tmp_path)
    said = licenses.top_up(tmp_path, [location(5)], Upstream(terms(41, redistribution=True)), SEEN)
    assert said is not None
    assert "was damaged and set aside as licenses.json.damaged-" in said
    assert sorted(licenses.read(tmp_path)) == [41]
