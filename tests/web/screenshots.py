"""The pictures of the pages in docs/images, drawn anew: `make screenshots`.

A day of the demo world is lived through, a run every two hours, with its clock and the program's at the same moment, so
that the pictures are of what people see after a day, and the same whenever they are drawn.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser

from openaq_pipeline.config import load
from openaq_pipeline.model import Measurement
from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.clock import Clock
from openaq_pipeline.simulator.server import running as simulated
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.web.look import Look
from openaq_pipeline.web.server import running
from tests.archive_files import write_archive
from tests.conftest import ROOT, Program
from tests.daemon.conftest import change
from tests.web.browser import chromium, tab

IMAGES = ROOT / "docs" / "images"
NOW = datetime(2026, 11, 20, 9, 12, tzinfo=UTC)
LAST, INTERVAL, RUNS = NOW - timedelta(minutes=19), timedelta(hours=2), 13
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
PLACE = 6093549
MOST_BYTES, COLOURS = 200_000, 256


def at(moment: datetime) -> dict[str, str]:
    """Return the environment in which a program believes that it is this moment."""
    return {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME": f"@{moment:%Y-%m-%d %H:%M:%S}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "TZ": "UTC",
    }


def live(folder: Path) -> Program:
    """Live through a day; return the program with its data, right after its last run."""
    program, clock = Program(folder), Clock(NOW, speed=0)
    with simulated(named.demo(now=NOW), options=Options(requests_per_minute=0), clock=clock) as simulator:
        ids = [each.id for each in simulator.world.stations]
        program.configure(simulator.base_url, ids, initial_days=400)
        change(program, archive={"location": str(folder / "archive")})
        for number in range(RUNS - 1, 0, -1):
            run(program, clock, LAST - number * INTERVAL)
        write_archive(folder / "archive", rows(program))
        command = [sys.executable, "-m", "openaq_pipeline", "audit", "--config", str(program.config)]
        subprocess.run(command, cwd=ROOT / "dataset", env=program.env | at(LAST), check=False, capture_output=True)
        shutil.rmtree(folder / "state")  # the hours went by in a minute, and were not what a key allows
        run(program, clock, LAST)
    configured: dict[str, Any] = json.loads(program.config.read_text())
    del configured["api"]["requests_per_minute"], configured["api"]["requests_per_hour"]
    program.config.write_text(json.dumps(configured))
    return program


def run(program: Program, clock: Clock, moment: datetime) -> None:
    """Have one run at a moment."""
    clock.set(moment)
    with program.start("incremental_loader.py", **at(moment)) as process:
        _, error = process.communicate()
    assert process.returncode == 0, error


def rows(program: Program) -> list[Measurement]:
    """Return what is stored of the place, until three days ago: what OpenAQ's archive has by now."""
    from openaq_pipeline.columns import HISTORY, to_rows  # noqa: PLC0415
    from openaq_pipeline.model import Window  # noqa: PLC0415
    from openaq_pipeline.reading.location import Selection, read  # noqa: PLC0415

    window = Window(NOW - timedelta(days=380), NOW - timedelta(days=3))
    return list(to_rows(PLACE, read(program.data, PLACE, Selection(window)).select(HISTORY.names)))


def pictures(browser: Browser, address: str) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each picture."""
    for scheme in ("light", "dark"):
        yield f"status-{scheme}", taken(browser, address, "/", scheme, (1160, 1040))
    yield "location", taken(browser, address, f"/locations/{PLACE}", "light", (1160, 1400))
    yield "calendar", taken(browser, address, f"/locations/{PLACE}", "light", (1160, 1400), only=".calendars")
    yield "map", taken(browser, address, "/map?parameter=pm25", "light", (1160, 820))
    yield "phone", taken(browser, address, "/#places", "dark", (390, 844))


def taken(
    browser: Browser, address: str, path: str, scheme: str, size: tuple[int, int], *, only: str | None = None
) -> bytes:
    with tab(browser, address + path, size=size, scheme=scheme, scale=1.5) as page:
        page.wait_for_load_state("networkidle")
        return page.locator(only).screenshot() if only else page.screenshot()


def small(picture: bytes) -> bytes:
    """Return a picture in few colours, which is a third of the bytes and looks the same."""
    body = BytesIO()
    image = Image.open(BytesIO(picture)).convert("RGB")
    image.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        body, "PNG", optimize=True
    )
    return body.getvalue()


def main() -> None:
    """Draw all of them."""
    assert LIBRARY is not None, "faketime is not here: apt-get install faketime"
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        program = live(Path(folder))
        settings = load(config=program.config, environ=program.env)
        (ledger,) = (program.folder / "state").rglob("budget-*.sqlite")
        with running(settings, Look(settings, ledger, clock=lambda: NOW)) as address:
            for name, picture in pictures(browser, address):
                body = small(picture)
                assert len(body) < MOST_BYTES, f"{name}: {len(body)} bytes"
                (IMAGES / f"{name}.png").write_bytes(body)


if __name__ == "__main__":
    main()
