"""Whether the copy is being kept current: the rule of `monitor --check` and of the page's `/readyz`.

Good is a run in which at least one location succeeded. Recent enough: two intervals and a quarter of an hour, with
`cron` the same of its longest gap, with `once` `stale_after_hours`. While the first, long run goes on, a location that
was read to its end counts as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

import msgspec

from openaq_pipeline.errors import PipelineError
from openaq_pipeline.incremental.outlook import longest_gap
from openaq_pipeline.monitoring import history
from openaq_pipeline.monitoring.health import good_runs, in_words, is_recent, late_after
from openaq_pipeline.settings import Settings
from openaq_pipeline.storage.selections import remembered
from openaq_pipeline.storage.state import StateFile


class Readiness(msgspec.Struct, frozen=True):
    """Whether a run was good lately, and why that is said, in a sentence."""

    ready: bool
    sentence: str


def readiness(settings: Settings, now: datetime) -> Readiness:
    """Return it from the files; what can't be read is no good run. Raises `ConfigError` for an impossible schedule."""
    longest_gap(settings.schedule, now)  # no file is to blame for a cron line that never fires
    try:
        good = list(good_runs(history.read(settings.data_dir).runs, {}))
        return judged(settings, now, good, lambda: _read_to_the_end(settings, now))
    except PipelineError as error:
        return Readiness(ready=False, sentence=f"unhealthy: {error.advice}")


def judged(
    settings: Settings, now: datetime, good: Collection[datetime], more: Callable[[], Collection[datetime]]
) -> Readiness:
    """Return it by when runs were good; `more` is asked for when locations were if no run was lately."""
    span = late_after(longest_gap(settings.schedule, now), settings.monitoring.alerts)
    if not is_recent(list(good), now, span):
        good = [*good, *more()]
    if is_recent(list(good), now, span):
        ago = in_words(now - max(good))
        said = f"healthy: the last good run was {ago} ago (at most {in_words(span)} are fine)"
        return Readiness(ready=True, sentence=said)
    last = f"the last one was at {max(good):%Y-%m-%d %H:%M} UTC" if good else "there was none yet"
    return Readiness(ready=False, sentence=f"unhealthy: no good run within {in_words(span)}; {last}")


def _read_to_the_end(settings: Settings, now: datetime) -> list[datetime]:
    """Return when each selected location was last read to its end; the state may be large, and is seldom needed."""
    state = StateFile(settings.data_dir)
    state.load(now, repair=False)
    return list(good_runs((), {key: state.get(key) for key in remembered(settings).locations}))
