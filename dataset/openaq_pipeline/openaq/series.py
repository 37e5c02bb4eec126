"""Reading a sensor's series over a window: keyset paging, halving what is too large, stepping around poison.

1. Ask for the window's oldest rows; as long as a page is full, go on from its last stamp (a keyset: late rows that
   appear meanwhile shift nothing).
2. A 408 means too much at once, a 500 that stays usually means one row the server can't print: what is left of the
   window is halved, and each half read in turn, oldest first.
3. What can't be read even in the smallest window is a *hole*. Reading goes on behind it, but `complete_to` stays in
   front of it: no watermark may pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from openaq_pipeline.errors import SensorBroken, ServerFault, WindowTooLarge
from openaq_pipeline.model import Page, Window
from openaq_pipeline.openaq.api import PAGE_LIMIT
from openaq_pipeline.ports import Source

SMALLEST_WINDOW = timedelta(hours=1)
"""Most sensors report hourly: a smaller window would separate nothing more."""

MAX_SPLITS = 30
"""Thirty halvings find three poison rows in a month of hours (10 each); a sensor with more is broken as a whole.

So the walk of a sensor that always fails costs one question more than that, the first of them repeated by the client.
"""


class Step(msgspec.Struct, frozen=True):
    """One page of a walk. `complete_to`: up to here every row the server would show has now been read."""

    page: Page
    complete_to: datetime


def walk(api: Source, location_id: int, sensors_id: int, window: Window) -> Iterator[Step]:
    """Yield a window's pages, oldest first. Raises `SensorBroken` at the end if there were holes.

    The rows behind a hole are yielded too. Every other error comes at once: what was yielded so far is complete up
    to its `complete_to`.
    """
    todo = [window]
    first_hole: tuple[Window, Exception] | None = None
    faults = 0
    while todo:
        part = todo.pop()
        try:
            for step in _pages(api, location_id, sensors_id, part, attempts=1 if faults else None):
                part = Window(step.complete_to, part.end)
                yield step if first_hole is None else Step(step.page, first_hole[0].start)
        except (ServerFault, WindowTooLarge) as error:
            faults += 1
            if faults > MAX_SPLITS:
                first_hole = first_hole or (Window(part.start, window.end), error)
                break
            if part.length > SMALLEST_WINDOW:
                todo.extend(reversed(part.halves()))
            else:
                first_hole = first_hole or (part, error)
    if first_hole is not None:
        hole, reason = first_hole
        raise SensorBroken(
            f"Rows between {hole.start:%Y-%m-%dT%H:%MZ} and {hole.end:%Y-%m-%dT%H:%MZ} can't be read: {reason}"
        ) from reason


def probe(api: Source, location_id: int, sensors_id: int, window: Window) -> None:
    """Ask for the end of a window alone; raises `SensorBroken` if not even that can be read.

    A sensor that fails there too most likely fails everywhere, and its walk would find that out at thirty requests.
    """
    last = Window(max(window.start, window.end - SMALLEST_WINDOW), window.end)
    try:
        api.measurements(location_id, sensors_id, last, attempts=1)
    except (ServerFault, WindowTooLarge) as error:
        raise SensorBroken(f"Its last hour can't be read either: {error}") from error


def _pages(api: Source, location_id: int, sensors_id: int, window: Window, *, attempts: int | None) -> Iterator[Step]:
    """Yield the pages of one window by keyset."""
    start = window.start
    while True:
        page = api.measurements(location_id, sensors_id, Window(start, window.end), attempts=attempts)
        # Stamps are printed without their fraction, so a page may end where it began (OPENAQ section 3.3).
        last = max((row.datetime for row in page.rows), default=start).replace(microsecond=0)
        if page.count < PAGE_LIMIT or last >= window.end.replace(microsecond=0):
            yield Step(page, window.end)
            return
        yield Step(page, max(last, start))
        if last <= start:
            raise SensorBroken(f"A full page at {start:%Y-%m-%dT%H:%M:%SZ} goes no further")
        start = last
