"""OpenAQ's lists of latest rows: of all sensors of a parameter, and of a location's sensors. They only hint.

What a list says may be a quarter of an hour old, and its pages are in no order, so that a row may be missed between two
(OPENAQ sections 3.6 and 3.7). A list that fails is missing: its sensors are then asked for one by one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import NamedTuple

from openaq_pipeline.errors import FatalError, PipelineError, Stopped
from openaq_pipeline.model import Latest, LatestPage
from openaq_pipeline.openaq.api import MOST_PAGES, PAGE_LIMIT
from openaq_pipeline.ports import LatestSource

log = logging.getLogger(__name__)


class Heard(NamedTuple):
    """What lists said: their rows by sensor, and which parameters and locations were listed, at how many requests."""

    rows: dict[int, Latest]
    parameters: set[int]
    locations: set[int]
    requests: int


def listen(
    source: LatestSource,
    parameters: Iterable[int],
    locations: Iterable[int],
    *,
    since: datetime,
    workers: int,
    room: int | None,
) -> Heard:
    """Ask for the lists of parameters, as far as they go back to `since`, and of locations, as many as `room` allows.

    `room` None: all. Raises `FatalError` and `Stopped`, which concern the whole run.
    """
    rows: dict[int, Latest] = {}
    requests = 0
    with ThreadPoolExecutor(workers, thread_name_prefix="list") as pool:
        found = list(pool.map(lambda key: (key, _of_parameter(source, key, since)), parameters))
        requests += sum(len(pages) for _, pages in found)
        fitting = list(locations)[: None if room is None else max(0, room - requests)]
        alone = list(pool.map(lambda key: (key, [_tried(partial(source.location_latest, key))]), fitting))
    for page in (page for _, pages in (*found, *alone) for page in pages if page is not None):
        for row in page.rows:
            if row.sensors_id not in rows or rows[row.sensors_id].datetime < row.datetime:
                rows[row.sensors_id] = row
    return Heard(rows, set(_whole(found)), set(_whole(alone)), requests + len(fitting))


def _of_parameter(source: LatestSource, parameters_id: int, since: datetime) -> list[LatestPage | None]:
    """Return all pages of a parameter; the first one tells how many there are. None: one could not be had."""
    first = _tried(partial(source.parameter_latest, parameters_id, since, 1))
    if first is None or not first.found:
        return [first]
    if first.found > MOST_PAGES * PAGE_LIMIT:
        return [first, None]  # no such list can be; its sensors are asked one by one
    numbers = range(2, -(-first.found // PAGE_LIMIT) + 1)
    return [first, *(_tried(partial(source.parameter_latest, parameters_id, since, number)) for number in numbers)]


def _whole(found: Iterable[tuple[int, list[LatestPage | None]]]) -> Iterator[int]:
    """Yield what was listed to the end."""
    return (key for key, pages in found if None not in pages)


def _tried(ask: Callable[[], LatestPage]) -> LatestPage | None:
    try:
        return ask()
    except (FatalError, Stopped):
        raise
    except PipelineError as error:
        log.warning("A list of latest rows could not be had, its sensors are asked for one by one: %s", error)
        return None
