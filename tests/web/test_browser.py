"""The pages in a real browser, served by a real daemon that polls the simulator."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.server import running
from openaq_pipeline.simulator.worlds import named
from tests.conftest import ROOT, Program
from tests.daemon.conftest import Scheduler, change, until
from tests.web.browser import PHONE, chromium, overflow, tab

PLACE, SILENT = 5506835, 6142175
PAGES = ("/", f"/locations/{PLACE}", "/map", "/runs", "/alerts", "/api")


class Site(NamedTuple):
    """Where the pages are, and the program that keeps them."""

    address: str
    program: Program

    def __truediv__(self, path: str) -> str:
        return self.address.rstrip("/") + path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def text(address: str) -> str:
    """A page, empty while nobody answers yet."""
    with suppress(requests.ConnectionError):
        return requests.get(address, timeout=10).text
    return ""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Site]:
    assert browser  # without one nothing need be run
    program = Program(tmp_path_factory.mktemp("site"))
    with running(named.demo(), options=Options(requests_per_minute=0)) as simulator:
        program.configure(simulator.base_url, [each.id for each in simulator.world.stations], initial_days=12)
        change(program, web={"port": 0})
        command = [sys.executable, str(ROOT / "dataset/scheduler.py"), "--config", str(program.config)]
        daemon = Scheduler(program, command, {})
        try:
            daemon.logs("Run of 10 locations complete")
            daemon.logs("The status page is at")
            (address,) = re.findall(r"The status page is at (\S+)/", daemon.log)
            until(lambda: "10 locations" in text(address), "the run on the page")
            yield Site(address, program)
            assert daemon.stop() == 0
        finally:
            daemon.clean_up()


@pytest.mark.parametrize("path", PAGES)
def test_axe_objects_to_nothing_in_both_schemes_and_a_phone_needs_not_scroll_sideways(
    site: Site, browser: Browser, path: str
) -> None:
    with tab(browser, site / path) as page:
        page.wait_for_load_state("networkidle")
        for each in page.locator("details").all()[:3]:
            each.evaluate("details => { details.open = true }")
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        page.emulate_media(color_scheme="dark")
        page.wait_for_timeout(100)
        found = Axe().run(page, options={"runOnly": {"type": "rule", "values": ["color-contrast"]}})
        assert found.violations_count == 0, found.generate_report()
        page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        until(lambda: overflow(page) <= 0, "a page as wide as the phone, its charts drawn anew")


def test_dark_and_light_are_what_the_reader_prefers(site: Site, browser: Browser) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    with tab(browser, site / "/", scheme="light") as page:
        light = page.evaluate(paper)
        page.emulate_media(color_scheme="dark")
        assert page.evaluate(paper) != light
        assert light == "rgb(251, 250, 246)"


def test_the_state_is_told_in_a_sentence_and_each_location_by_its_values(site: Site, browser: Browser) -> None:
    with tab(browser, site / "/") as page:
        expect(page.get_by_role("heading", level=1)).to_contain_text("1 of 10 locations silent")
        place = page.locator(f"#l{PLACE}")
        expect(place).to_contain_text("Current")
        expect(place.locator(".parameter")).to_have_text(["NO₂", "O₃", "PM10", "PM2.5", "Humidity"])
        expect(place.locator(".aqi").first).to_contain_text("Good")
        assert place.locator(".spark path").count() == 5
        expect(place.locator(".age").first).to_contain_text("min")
        expect(page.locator(f"#l{SILENT}")).to_contain_text("Silent")


def test_the_list_is_searched_while_typing_and_filtered_by_state(site: Site, browser: Browser) -> None:
    with tab(browser, site / "/") as page:
        search = page.get_by_role("searchbox")
        search.press_sequentially("durbar patan")
        expect(page.locator(".place")).to_have_count(1)
        expect(page.locator(".place")).to_contain_text("Patan Durbar Square")
        expect(search).to_be_focused()
        assert page.url.endswith("/?q=durbar+patan")
        search.fill("")
        expect(page.locator(".place")).to_have_count(10)
        page.get_by_role("link", name="Silent").click()
        expect(page.locator(".place")).to_have_count(1)
        search.fill("nobody <b>")
        expect(page.locator("#places .none")).to_contain_text("No location matches “nobody <b>”")


def test_the_page_refreshes_itself_and_leaves_the_reader_where_he_is(site: Site, browser: Browser) -> None:
    with tab(browser, site / "/", size=(1280, 500)) as page:
        body = requests.get(site.address, timeout=10).text
        changed = body.replace("Ratna Park", "Ratna Garden")
        page.route(site / "/", lambda route: route.fulfill(body=changed, content_type="text/html"))
        link = page.locator(f"#l{SILENT} a")
        link.focus()
        before = page.evaluate("scrollY")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator(f"#l{PLACE}")).to_contain_text("Ratna Garden")
        expect(link).to_be_focused()
        assert page.evaluate("scrollY") == before > 0


def test_a_reader_may_pause_and_is_told_when_the_server_is_gone(site: Site, browser: Browser) -> None:
    with tab(browser, site / "/", errors=("Failed to load", "ERR_")) as page:
        page.route(site / "/", lambda route: route.abort())
        again = "document.dispatchEvent(new Event('visibilitychange'))"
        page.get_by_role("button", name="Pause").click()
        page.evaluate(again)
        expect(page.locator("#trouble")).to_have_count(0)
        page.get_by_role("button", name="Paused").click()
        expect(page.locator("#trouble")).to_contain_text("could not be refreshed")
        page.unroute(site / "/")
        page.evaluate(again)
        expect(page.locator("#trouble")).to_have_count(0)


def series(page: Page) -> dict[str, Any]:
    """What the charts were drawn of last."""
    found: dict[str, Any] = page.evaluate(
        "async () => (await fetch(location.pathname + '/series.json' + location.search)).json()"
    )
    return found


def test_a_chart_is_zoomed_by_dragging_by_buttons_and_by_keys(site: Site, browser: Browser) -> None:
    with tab(browser, site / f"/locations/{PLACE}") as page:
        expect(page.locator(".uplot")).to_have_count(5)
        week = series(page)
        over = page.locator(".u-over").first
        box = over.bounding_box()
        assert box
        page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60, steps=4)
        page.mouse.up()
        page.wait_for_url("**datetime_from=*")
        zoomed = series(page)
        length = (zoomed["last"] - zoomed["first"]) / (week["last"] - week["first"])
        assert 0.18 < length < 0.22
        expect(page.locator("#said")).to_contain_text("Shown: ")

        chart, address = page.locator(".plot").first, page.url
        chart.focus()
        chart.press("+")
        expect(page).not_to_have_url(address)
        assert series(page)["last"] - series(page)["first"] == pytest.approx(
            (zoomed["last"] - zoomed["first"]) / 2, abs=120
        )
        chart.press("0")
        page.wait_for_url("**?range=week")
        page.get_by_role("link", name="Month").click()
        page.wait_for_url("**?range=month")
        expect(page.locator("[data-range=month]")).to_have_attribute("aria-current", "true")
        assert series(page)["last"] - series(page)["first"] == 30 * 86400


def test_a_range_is_asked_for_in_the_time_of_the_station(site: Site, browser: Browser) -> None:
    with tab(browser, site / f"/locations/{PLACE}?range=day", errors=("422",)) as page:
        expect(page.locator(".uplot")).to_have_count(5)
        last = page.locator("[name=datetime_to]").input_value()
        page.locator("[name=datetime_from]").fill(f"{last[:10]}T00:00")
        page.get_by_role("button", name="Show").click()
        page.wait_for_url("**datetime_from=*")
        expect(page.locator("#said")).to_contain_text("00:00 to")
        assert series(page)["first"] % 86400 == (24 - 5) * 3600 - 45 * 60  # Kathmandu is 5:45 ahead
        page.locator("[name=datetime_from]").fill("2040-01-01T00:00")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#trouble")).to_contain_text("ends")


def test_gaps_stay_gaps_and_odd_rows_are_marked_and_listed(site: Site, browser: Browser) -> None:
    with tab(browser, site / "/locations/6093549?range=week") as page:
        expect(page.locator(".uplot")).to_have_count(6)
        drawn = series(page)["series"]
        assert any(None in each["values"] for each in drawn)
        odd = sum(len(each["odd"]) for each in drawn)
        assert odd > 5
        page.locator("#odd summary").click()
        expect(page.locator("#odd tbody tr")).to_have_count(odd)
        expect(page.locator("#odd tbody")).to_contain_text("missing value")


@pytest.mark.parametrize("form", ["CSV", "JSON", "Parquet"])
def test_a_download_holds_just_what_is_shown(site: Site, browser: Browser, form: str, tmp_path: Path) -> None:
    with tab(browser, site / f"/locations/{PLACE}?range=day") as page:
        expect(page.locator(".uplot")).to_have_count(5)
        shown = series(page)
        with page.expect_download() as download:
            page.get_by_role("link", name=form, exact=True).click()
        download.value.save_as(tmp_path / "file")
    keys = {(each["sensors_id"], at) for each in shown["series"] for at in each["times"]}
    odd = {(each["sensors_id"], at) for each in shown["series"] for at, *_ in each["odd"]}
    found = rows(form, (tmp_path / "file").read_bytes())
    assert len(found) == len(set(found)) == sum(each["rows"] for each in shown["series"])
    assert set(found) <= keys | odd


def rows(form: str, body: bytes) -> list[tuple[int, int]]:
    """The sensor and the seconds of each row of a file."""
    import pandas as pd  # noqa: PLC0415

    if form == "CSV":
        table = pd.DataFrame(list(csv.DictReader(io.StringIO(body.decode()))))
    elif form == "JSON":
        table = pd.DataFrame(json.loads(body))
    else:
        table = pd.read_parquet(io.BytesIO(body))
    stamps = pd.to_datetime(table["datetime"], utc=True)
    return [(int(key), int(stamp.timestamp())) for key, stamp in zip(table["sensors_id"], stamps, strict=True)]


def test_a_calendar_tells_of_each_day(site: Site, browser: Browser) -> None:
    with tab(browser, site / f"/locations/{PLACE}") as page:
        expect(page.locator(".calendar")).to_have_count(5)
        square = page.locator(".calendar path").first
        square.scroll_into_view_if_needed()
        page.locator(".calendar svg").first.hover()
        assert page.locator(".calendar svg").first.get_attribute("aria-label")
        page.get_by_text("The same as a table").click()
        expect(page.locator("table", has_text="Days").last).to_be_visible()


def test_the_map_leads_to_a_location_by_pointer_and_by_keys(site: Site, browser: Browser) -> None:
    with tab(browser, site / "/map") as page:
        page.wait_for_load_state("networkidle")
        canvas = page.locator("#canvas")
        colours = "canvas => new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size"
        until(lambda: canvas.evaluate(colours) > 20, "a map that is drawn")
        before = canvas.evaluate("canvas => canvas.toDataURL()")
        canvas.focus()
        canvas.press("+")
        until(lambda: canvas.evaluate("canvas => canvas.toDataURL()") != before, "a map drawn larger")
        canvas.press("0")
        canvas.press("n")
        expect(page.locator("#said")).to_contain_text("·")
        name = (page.locator("#said").text_content() or "").partition(" · ")[0]
        canvas.press("Enter")
        page.wait_for_url("**/locations/*")
        expect(page.get_by_role("heading", level=1)).to_contain_text(name)
        page.goto(site / f"/map?at={PLACE}")
        until(lambda: canvas.evaluate(colours) > 20, "the map of the place")
        canvas.click()
        page.wait_for_url(f"**/locations/{PLACE}")


def test_the_map_shows_the_values_of_a_parameter(site: Site, browser: Browser) -> None:
    with tab(browser, site / "/map") as page:
        page.get_by_label("Colour by").select_option("pm25")
        page.wait_for_url("**?parameter=pm25")
        expect(page.locator("#levels")).to_be_visible()
        said = page.locator("#said")

        def next_place() -> str:
            page.locator("#canvas").press("n")
            return said.text_content() or ""

        until(lambda: "index" in next_place(), "a place that has told enough hours for an index")
        name = (said.text_content() or "").partition(" · ")[0]
        page.get_by_label("Colour by").select_option("temperature")
        expect(said).not_to_contain_text("index")
        assert (said.text_content() or "").startswith(name), "of the same place, what is shown of it now"
        expect(page.locator("#scale")).to_contain_text("°C")


def test_everything_is_reached_with_the_tab_key_and_the_focus_is_seen(site: Site, browser: Browser) -> None:
    with tab(browser, site / "/") as page:
        seen = []
        for _ in range(14):
            page.keyboard.press("Tab")
            seen.append(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.id"))
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        assert seen[:7] == ["Skip to the content", "OpenAQ Pipeline", "Status", "Map", "Runs", "Alerts", "API"]
        assert {"Pause", "q", "Search"} <= set(seen)
        page.goto(site / "/")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"


def test_without_script_all_but_the_map_can_be_read(site: Site, browser: Browser) -> None:
    with tab(browser, site / "/?q=ratna", script=False) as page:
        expect(page.locator(".place")).to_have_count(1)
        expect(page.locator(".value b").first).to_be_visible()
        expect(page.get_by_role("button", name="Pause")).to_be_hidden()
        page.goto(site / f"/locations/{PLACE}?range=month")
        expect(page.locator(".plot svg path")).to_have_count(5)
        expect(page.locator(".calendar svg")).to_have_count(5)
        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").click()
        assert download.value.suggested_filename.endswith(".csv")
        page.goto(site / "/map")
        expect(page.get_by_text("Below is the same as a list")).to_be_visible()
        expect(page.locator("details tbody tr")).to_have_count(10)


def test_a_page_that_is_not_there_says_what_to_do(site: Site, browser: Browser) -> None:
    for path, said in (("/locations/1", "There is no location 1 here"), ("/nothing", "nothing under this address")):
        with tab(browser, site / path, errors=("404",)) as page:
            expect(page.get_by_role("heading", level=1)).to_contain_text(said)
            page.get_by_role("link", name="To the status page").click()
            expect(page.locator(".place").first).to_be_visible()
