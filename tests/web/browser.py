"""A browser for the tests: Debian's Chromium, driven by Playwright, that tells on every page that misbehaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
DESKTOP, PHONE = (1280, 900), (390, 844)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser; without one the test skips, and says so."""
    if not CHROMIUM.exists():
        pytest.skip(f"NOT TESTED IN A BROWSER: {CHROMIUM} is not here (apt-get install chromium)")
    with sync_playwright() as playwright:
        # Without a graphics card it would imitate one.
        flags = ["--no-sandbox", "--disable-gpu", "--disable-software-rasterizer"]
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=flags)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def tab(
    browser: Browser,
    address: str,
    *,
    size: tuple[int, int] = DESKTOP,
    scheme: Any = "light",
    script: bool = True,
    scale: float = 1,
    errors: tuple[str, ...] = (),
) -> Iterator[Page]:
    """Open a page; at the end it must have asked nobody but its own server, and have had no error but `errors`."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        device_scale_factor=scale,
        color_scheme=scheme,
        java_script_enabled=script,
        accept_downloads=True,
        reduced_motion="reduce",
    )
    said, asked = list[str](), set[str]()
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(f"a dialog: {dialog.message}"))
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    try:
        page.goto(address)
        yield page
        assert [each for each in said if not any(known in each for known in errors)] == []
        assert asked == {urlsplit(address).netloc}
    finally:
        context.close()


def overflow(page: Page) -> int:
    """Return by how many pixels a page is wider than its window."""
    found: int = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return found
