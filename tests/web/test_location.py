"""The page of a location of which every row is known, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from openaq_pipeline.settings import Settings
from openaq_pipeline.web.server import running
from openaq_pipeline.web.wording import number
from tests.reading import folders
from tests.web.browser import chromium, overflow, tab
from tests.web.served import NOW, lay_out

ROWS = 24 * 9
SECONDS = {1: 0, 2: 42}
"""When after the minute each station stamps its rows."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Pages of two stations with nine days of hourly rows of two sensors each."""
    folder = tmp_path_factory.mktemp("location")
    begins = NOW - timedelta(hours=ROWS)
    lay_out(folder, {key: folders.series(key, begins + timedelta(seconds=late), ROWS) for key, late in SECONDS.items()})
    with running(Settings(locations=list(SECONDS), data_dir=folder)) as served:
        yield served


def captions(page: Page) -> list[str]:
    """How many rows each chart says that it shows."""
    return [text.partition(",")[0] for text in page.locator(".chart .summary").all_inner_texts()]


def downloaded(page: Page) -> list[dict[str, Any]]:
    address = page.get_by_role("link", name="JSON", exact=True).evaluate("link => link.href")
    rows: list[dict[str, Any]] = requests.get(address, timeout=20).json()
    return rows


@pytest.mark.parametrize("script", [True, False], ids=["script", "plain"])
@pytest.mark.parametrize("location_id", SECONDS)
@pytest.mark.parametrize(("span", "rows"), [("all", ROWS), ("week", 168)])
def test_the_first_and_the_newest_row_are_in_the_download_and_stay_when_the_same_is_asked_for_again(
    address: str, browser: Browser, script: bool, location_id: int, span: str, rows: int
) -> None:
    with tab(browser, f"{address}/locations/{location_id}?range={span}", script=script) as page:
        page.wait_for_load_state("networkidle")
        assert captions(page) == [f"{rows} rows"] * 2
        assert len(downloaded(page)) == 2 * rows
        page.get_by_role("button", name="Show").click()
        page.wait_for_url("**datetime_from=*")
        page.wait_for_load_state("networkidle")
        assert captions(page) == [f"{rows} rows"] * 2
        assert len(downloaded(page)) == 2 * rows


def test_all_of_a_zoomed_chart_is_in_the_download(address: str, browser: Browser) -> None:
    with tab(browser, f"{address}/locations/2?range=week") as page:
        page.wait_for_load_state("networkidle")
        page.get_by_role("button", name="Zoom in").click()
        page.wait_for_url("**datetime_from=*")
        page.wait_for_load_state("networkidle")
        assert captions(page) == ["84 rows"] * 2
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#series")).not_to_have_attribute("aria-busy", "true")
        assert captions(page) == ["84 rows"] * 2
        assert len(downloaded(page)) == 2 * 84


@pytest.mark.parametrize("width", [1200, 390])
def test_the_squares_of_a_young_calendar_are_no_larger_than_those_of_a_year(
    address: str, browser: Browser, width: int
) -> None:
    with tab(browser, f"{address}/locations/1", size=(width, 800)) as page:
        expect(page.locator(".calendar")).to_have_count(2)
        for drawn in page.locator(".calendar svg").all():
            box = drawn.bounding_box()
            assert box
            assert 80 < box["height"] < 120
        assert overflow(page) <= 0


def test_the_script_writes_numbers_as_the_server_does(address: str, browser: Browser) -> None:
    some = [7, -12, 1.125, 0.0184, 1.005, 1.015, 0.9996, 9.995, 999.5, 1234.5, -1234567.8, 9999999.0, 1 / 3]
    values = [sign * value * 10.0**power for value in some for power in range(-14, 14) for sign in (1, -1)]
    values += [0.0, -0.0, 5e-324, 1.7e308, -1e-12]
    with tab(browser, address) as page:
        assert page.evaluate("values => values.map(figure)", values) == list(map(number, values))


def test_the_keys_lead_back_from_where_there_is_no_row(address: str, browser: Browser) -> None:
    with tab(browser, f"{address}/locations/1?range=day") as page:
        expect(page.locator(".uplot")).to_have_count(2)
        page.locator(".plot").first.focus()
        for _ in range(3):
            before = page.url
            page.keyboard.press("ArrowRight")
            expect(page).not_to_have_url(before)
        expect(page.locator("#charts .none")).to_be_visible()
        expect(page.locator("#charts")).to_be_focused()
        page.keyboard.press("0")
        expect(page.locator(".uplot")).to_have_count(2)


def test_enter_opens_the_place_of_the_map_that_was_stepped_to_also_after_a_zoom(address: str, browser: Browser) -> None:
    with tab(browser, f"{address}/map") as page:
        page.wait_for_load_state("networkidle")
        page.locator("#canvas").press("n")
        page.locator("#canvas").press("+")
        page.locator("#canvas").press("ArrowLeft")
        page.locator("#canvas").press("Enter")
        page.wait_for_url("**/locations/1")


def test_a_huge_value_is_no_wider_than_a_phone(tmp_path: Path, browser: Browser) -> None:
    rows = folders.series(1, NOW - timedelta(hours=5), 6)
    huge = [msgspec.structs.replace(row, value=row.value and row.value * 1.4e308) for row in rows]
    lay_out(tmp_path, {1: huge})
    with running(Settings(locations=[1], data_dir=tmp_path)) as served, tab(browser, served, size=(360, 800)) as page:
        expect(page.locator(".value b").first).to_contain_text("e308")
        assert overflow(page) <= 0
        page.goto(f"{served}/locations/1?range=all")
        expect(page.locator(".uplot")).to_have_count(2)
        expect(page.locator(".summary").first).to_contain_text("e308")
        assert overflow(page) <= 0
