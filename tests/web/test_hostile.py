"""Names, errors and addresses that come from outside may be anything: they are shown, and do nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import pytest
from playwright.sync_api import Browser, expect

from openaq_pipeline.config import load
from openaq_pipeline.model import License, Location, LocationState, Sensor, SensorState
from openaq_pipeline.storage.metadata import Metadata
from openaq_pipeline.storage.state import StateFile
from openaq_pipeline.web.server import running
from tests.web.browser import DESKTOP, PHONE, chromium, overflow, tab

NOW = datetime.now(UTC)
NAMES = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "x" * 10_000,
    "\u202eevil\u202c \u2066name\u2069",
    "two\nlines\r\nand a \x00 nul",
    "👩‍🔬🔥 " + "e" + "\u0301" * 500,
    "{{ 7 * 7 }} {% raw %} ${7*7} '\"><b>",
    "काठमाडौं קָטמַנדוּ كاتماندو",
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Pages of a folder in which every name is hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    metadata, state = Metadata(folder), StateFile(folder)
    for number, name in enumerate(NAMES, start=1):
        metadata.put(_location(number, name))
        parked = SensorState(parked_until=NOW, last_error=f"It failed: {name}", failures=3)
        state.put(number, LocationState(last_fetch_time=NOW, sensors={number: parked}))
    metadata.save()
    state.save()
    (folder / "config.yaml").write_text(msgspec.json.encode({"locations": list(range(1, len(NAMES) + 1))}).decode())
    with running(load(config=folder / "config.yaml", data_dir=folder, environ={})) as served:
        yield served


def _location(number: int, name: str) -> Location:
    """A location of which everything that is a text is hostile."""
    licence = License(7, name, name, f"javascript:alert('{number}')", name, None)
    return Location(
        id=number,
        name=name,
        locality=name,
        timezone="../../etc/passwd",
        country_code="<b>",
        country_name=name,
        latitude=27.7 + number / 100,
        longitude=85.3,
        provider=name,
        owner=name,
        is_mobile=False,
        is_monitor=True,
        licenses=(licence,),
        sensors=(Sensor(number, 2, name[:300], name[:300]),),
        datetime_first=None,
        datetime_last=None,
        fetched=NOW,
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def test_no_name_runs_as_script_or_breaks_the_layout(address: str, browser: Browser) -> None:
    paths = ["/", "/map", "/map?parameter=%3Cscript%3E", "/alerts", "/?q=%3Cscript%3E&state=%22"]
    paths += [f"/locations/{number}" for number in range(1, len(NAMES) + 1)]
    with tab(browser, address, size=PHONE) as page:
        for path in paths:
            page.goto(address + path)
            assert overflow(page) <= 0, path
            assert page.locator("main script, main img, main [onerror]").count() == 0, path
            assert page.evaluate("[...document.links].filter(link => !/^https?:/.test(link.href)).length") == 0, path
        page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
        for path in paths[:6]:
            page.goto(address + path)
            assert overflow(page) <= 0, path


def test_hostile_names_are_shown_as_they_are_but_for_what_would_move_other_text(address: str, browser: Browser) -> None:
    with tab(browser, address) as page:
        names = [each.inner_text() for each in page.locator(".place a").all()]
        assert names[0] == NAMES[0]
        assert names[1] == "x" * 119 + "…"
        assert names[2] == "evil name"
        assert names[3] == "two lines and a nul"
        assert names[4].startswith("👩‍🔬🔥 e\u0301\u0301\u0301")
        assert names[5] == NAMES[5]
        assert names[6] == NAMES[6]
        heights = [
            each.evaluate("element => element.getBoundingClientRect().height")
            for each in page.locator(".place a").all()
        ]
        assert max(heights) < 60  # two lines
        expect(page.locator(".place .why").first).to_contain_text("is parked, next try")
        page.goto(f"{address}/map")
        page.wait_for_load_state("networkidle")
        page.locator("#canvas").press("n")
        expect(page.locator("#said")).to_contain_text(f"{NAMES[0]} · failing")
