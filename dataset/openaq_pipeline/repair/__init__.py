"""Mending what `verify` finds: set aside, keep every row that can be read, fetch the others again.

Each location is mended under its lock, so a poll may go on beside it. Nothing is deleted, and it may be killed at any
moment: a damaged file has a second name before it is replaced, and before that is noted what is to be fetched
(`storage.owed`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from openaq_pipeline.errors import PipelineError, Stopped
from openaq_pipeline.repair import folder, state
from openaq_pipeline.repair.fetch import Fetching
from openaq_pipeline.repair.local import Local
from openaq_pipeline.repair.mended import Mended
from openaq_pipeline.run import Watcher
from openaq_pipeline.settings import Settings
from openaq_pipeline.verify import Verified
from openaq_pipeline.wiring import Stop, Stores, utc_now

__all__ = ["Mended", "repair"]


def repair(
    settings: Settings,
    found: Verified,
    *,
    tell: Callable[[Mended], None] = lambda _mended: None,
    watcher: Watcher | None = None,
    stop: Stop | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> tuple[Mended, ...]:
    """Mend what was found, and return what was done and what could not be; `tell` hears of each at once.

    It asks OpenAQ only for what is lost. Raises `Stopped` if it is asked to end (what is left is found again), and
    `FatalError` for a state that a newer version wrote.
    """
    stop, done = stop or Stop(), []

    def note(mended: Mended) -> None:
        done.append(mended)
        tell(mended)

    stores = Stores(settings)
    stores.load(clock(), repair=False)
    for mended in folder.mend(settings.data_dir, found, clock()):
        note(mended)
    local, fetching = Local(stores, clock), Fetching(stores, clock, watcher or Watcher(), stop)
    for location_id in found.ailing:
        stop.check()
        try:
            for mended in local.mend(location_id):
                note(mended)
            for mended in fetching.fetch(location_id, local.told):
                note(mended)
            for mended in state.mend(stores, location_id, clock()):
                note(mended)
        except Stopped:
            raise
        except PipelineError as error:
            note(
                Mended(
                    f"location_{location_id}.json",
                    f"location {location_id} can't be mended: {error.advice}",
                    complete=False,
                )
            )
    return tuple(done)
