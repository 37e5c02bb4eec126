"""`monitor` without a job: how it is, once or again and again."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
from rich.console import Console
from rich.live import Live

from openaq_pipeline.cli.show_health import Page, Values, as_text, listed
from openaq_pipeline.errors import PipelineError
from openaq_pipeline.overview import Observer
from openaq_pipeline.reading.latest import SensorLatest, latest
from openaq_pipeline.settings import Settings
from openaq_pipeline.signals import until_signal


def show(settings: Settings, now: datetime, *, shown_runs: int, as_json: bool) -> int:
    """Print how it is."""
    if as_json:
        found = Observer(settings).look(now, shown_runs=shown_runs)
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        _print(_page(Observer(settings), settings, now, shown_runs))
    return 0


def watch(settings: Settings, seconds: float, *, shown_runs: int) -> int:
    """Show how it is, anew every so many seconds, until SIGINT or SIGTERM; return 0.

    On a terminal it is one screen that is kept fresh, elsewhere one text after the other.
    """
    over, observer = threading.Event(), Observer(settings)

    def pages() -> Iterator[Page]:
        while not over.is_set():
            yield _page(observer, settings, datetime.now(UTC), shown_runs)
            over.wait(seconds)

    with until_signal(over.set):
        if not sys.stdout.isatty():
            for page in pages():
                _print(page)
                print(flush=True)
            return 0
        with Live(console=Console(highlight=False), screen=True, auto_refresh=False) as live:
            for page in pages():
                live.update(page, refresh=True)
    return 0


def _page(observer: Observer, settings: Settings, now: datetime, shown_runs: int) -> Page:
    found = observer.look(now, shown_runs=shown_runs)
    values: dict[int, tuple[SensorLatest, ...]] = {}
    for place in listed(found.health.locations):
        with suppress(PipelineError):  # then it has none; verify says what is wrong with its file
            values[place.location_id] = latest(settings.data_dir, place.location_id, now)
    return Page(found, now, _some(values))


def _some(values: dict[int, tuple[SensorLatest, ...]]) -> Values:
    return {key: rows for key, rows in values.items() if rows}


def _print(page: Page) -> None:
    """Print for a terminal as wide as it is, else as `show_health.text` has it."""
    if sys.stdout.isatty():
        Console(highlight=False).print(page)
        return
    print(as_text(page))
