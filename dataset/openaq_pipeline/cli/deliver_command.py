"""`deliver`: send the alerts that are still to be told; the daemon does so between runs."""

from __future__ import annotations

import argparse
from contextlib import suppress
from datetime import UTC, datetime

from openaq_pipeline.config import load
from openaq_pipeline.errors import PipelineError
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.monitoring.channels import channels_of
from openaq_pipeline.monitoring.delivery import deliver
from openaq_pipeline.monitoring.log import set_up
from openaq_pipeline.monitoring.policy import policy_of
from openaq_pipeline.monitoring.telling import Policy, digest_due

NOTHING = "No alert is due now. Still to be told later: {}."


def main(namespace: argparse.Namespace) -> int:
    """Send what is due; return 0, also if there was nothing, and 1 if a notice could not be delivered.

    It takes half a minute at the most. What was tried is in the log.
    """
    settings = load(
        config=namespace.config, data_dir=namespace.data_dir, log_level="DEBUG" if namespace.debug else None
    )
    if not settings.data_dir.is_dir():  # the locks would make the folder
        print(NOTHING.format(0))
        return 0
    set_up(settings, to_file=True)
    channels, policy = channels_of(settings.notifications, settings.environment), policy_of(settings)
    file = AlertFile(settings.data_dir)
    if _is_time_for_the_week(file, policy):
        from openaq_pipeline.digest import note_digest  # noqa: PLC0415 - 10 MB, once a week

        note_digest(settings, file, datetime.now(UTC).replace(microsecond=0), policy)
    summary = deliver(file, channels, policy=policy)
    if summary.busy:
        print("Another process is sending the alerts.")
    elif not summary.tried and not summary.problem:
        print(NOTHING.format(summary.pending))
    return 1 if summary.failed or summary.problem else 0


def _is_time_for_the_week(file: AlertFile, policy: Policy) -> bool:
    """Say whether a digest is due; a book that can't be read is told by who delivers."""
    with suppress(PipelineError):
        return digest_due(file.waiting().digests, datetime.now(UTC), policy) is not None
    return False
