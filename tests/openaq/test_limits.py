"""Answers without measure: texts of megabytes, ids that fit nowhere, lists without an end. All of it has a bound."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openaq_pipeline import columns
from openaq_pipeline.errors import RetriableError
from openaq_pipeline.model import LatestPage
from openaq_pipeline.openaq import api as api_module
from openaq_pipeline.openaq import parse
from openaq_pipeline.openaq.api import MOST_PAGES, PAGE_LIMIT, Api
from openaq_pipeline.openaq.lists import listen
from tests.openaq.test_parse import LOCATION, ROW, changed, page_of

if TYPE_CHECKING:
    from tests.openaq.conftest import Answering, Ask, Serve

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LONG = "x" * (parse.LONGEST_TEXT + 1)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("parameter.name", LONG),
        ("parameter.units", LONG),
        ("parameter.id", -1),
        ("parameter.id", 2**31),
        ("parameter.id", 2**63),
        ("parameter.id", 10**30),
        ("period.datetimeTo.local", "2" * 101),
    ],
)
def test_a_row_that_fits_nowhere_is_rejected_and_what_is_kept_of_it_is_short(path: str, value: object) -> None:
    page = page_of(ROW, changed(ROW, path, value))
    assert len(page.rows) == len(page.rejects) == 1
    assert len(page.rejects[0].row) <= parse.LONGEST_TEXT


@settings(deadline=None)  # the first call imports pyarrow
@given(st.one_of(st.integers(), st.integers(0, 2**70)), st.text(st.characters(codec="utf-8")), st.text())
def test_whatever_is_taken_for_a_row_fits_into_the_history(number: int, name: str, interval: str) -> None:
    row = changed(changed(ROW, "parameter.id", number), "period.interval", interval)
    assert columns.to_table(page_of(changed(row, "parameter.name", name)).rows).num_rows <= 1


@pytest.mark.parametrize("interval", ["9999999:00:00", "0596523:14:08"])
def test_an_interval_beyond_what_a_column_holds_is_unknown(interval: str) -> None:
    (row,) = page_of(changed(ROW, "period.interval", interval)).rows
    assert row.interval_seconds is None
    (row,) = page_of(changed(ROW, "period.interval", "0596523:14:07")).rows
    assert row.interval_seconds == 2**31 - 1


@pytest.mark.parametrize("bad", [0, -5, 2**31, 2**64, "../../etc/passwd", "\uff11\uff12\uff13", 1.5, True, None])
def test_an_id_that_no_path_may_hold_is_no_location(bad: object) -> None:
    body = json.dumps({"results": [LOCATION | {"id": bad}]}).encode()
    with pytest.raises(RetriableError):
        parse.location(body, NOW)


@pytest.mark.parametrize("bad", [0, -1, 10**12, "1/../2", "\uff11\uff12\uff13"])
def test_an_id_that_no_address_may_hold_is_no_sensor(bad: object) -> None:
    sensor = {**LOCATION["sensors"][0], "id": bad}
    body = json.dumps({"results": [LOCATION | {"sensors": [sensor]}]}).encode()
    with pytest.raises(RetriableError):
        parse.location(body, NOW)


def full_page(results: list[Any]) -> bytes:
    return json.dumps({"meta": {"found": 10**18}, "results": results}).encode()


@pytest.mark.parametrize("ask", [lambda api: list(api.locations({})), Api.parameters, Api.providers])
def test_a_list_whose_every_page_is_full_is_given_up(
    serve: Serve, answering: Answering, client_for: Ask, monkeypatch: pytest.MonkeyPatch, ask: Any
) -> None:
    monkeypatch.setattr(api_module, "MOST_PAGES", 3)
    server = serve(answering(200, full_page([{"id": 1, "name": "pm25"}] * PAGE_LIMIT)))
    with pytest.raises(RetriableError, match="has no end: 3 full pages"):
        ask(Api(client_for(server.base_url), lambda: NOW))
    assert len(server.requests) == 3


class Boasting:
    """A source that says that there are more rows than OpenAQ can have."""

    def __init__(self, found: int) -> None:
        self.found, self.asked = found, 0

    def parameter_latest(self, parameters_id: int, since: datetime, page: int) -> LatestPage:
        del parameters_id, since, page
        self.asked += 1
        return LatestPage([], self.found)

    def location_latest(self, location_id: int) -> LatestPage:
        raise NotImplementedError


@pytest.mark.parametrize(("found", "asked"), [(2500, 3), (MOST_PAGES * PAGE_LIMIT + 1, 1), (10**18, 1), (-3, 1)])
def test_a_list_of_latest_rows_that_boasts_is_not_asked_page_by_page(found: int, asked: int) -> None:
    source = Boasting(found)
    heard = listen(source, [2], [], since=NOW, workers=1, room=None)
    assert source.asked == asked
    assert heard.parameters == ({2} if found in {2500, -3} else set())
