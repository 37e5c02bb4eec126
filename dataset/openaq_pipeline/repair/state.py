"""Holding back a state that says more than the data do.

Only a poller may write it, so this takes the poller's place for a moment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

import msgspec

from openaq_pipeline.errors import LockHeld
from openaq_pipeline.incremental import watermark
from openaq_pipeline.locks import hold_folder
from openaq_pipeline.quality.rules import RULES
from openaq_pipeline.repair.mended import Mended
from openaq_pipeline.storage.checks.location import look
from openaq_pipeline.storage.state import StateFile
from openaq_pipeline.verify import STATE, state_findings
from openaq_pipeline.wiring import Stores


def mend(stores: Stores, location_id: int, now: datetime) -> Iterator[Mended]:
    """Hold back what is remembered of a location to what is stored; yield what was done, nothing if all is well."""
    folder = stores.settings.data_dir
    found = look(folder, location_id, RULES, now)
    if found.latest is None:
        return
    try:
        with hold_folder(folder):
            state = StateFile(folder)
            state.load(now, repair=False)
            before = state.get(location_id)
            problems = state_findings(folder, location_id, before, found.latest, now)
            if not any(finding.severity == "error" for finding in problems):
                return
            after = watermark.borne_out(before, found.latest, now)
            sensors = {key: watermark.advance(sensor, None, now) for key, sensor in after.sensors.items()}
            state.put(location_id, msgspec.structs.replace(after, sensors=sensors))
            state.save()
    except LockHeld:
        before = stores.state.get(location_id)
        if any(found.severity == "error" for found in state_findings(folder, location_id, before, found.latest, now)):
            with suppress(OSError):  # the next run looks closely at a file that is not as it left it
                os.utime(stores.files.path(location_id))
            said = f"a run is at work on this folder; its next one holds location {location_id} back to what is stored"
            yield Mended(STATE, said, complete=False)
        return
    yield Mended(STATE, f"location {location_id} is held back to what is stored; the next run reads on from there")
