"""After a poll: what a person should know is noted, and then told. See docs/decisions/0011-alerts.md."""

from __future__ import annotations

from datetime import datetime

from openaq_pipeline.digest import note_digest
from openaq_pipeline.errors import FatalError, PipelineError, StorageError
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.monitoring.channels import channels_of
from openaq_pipeline.monitoring.conditions import Assessment, assess, not_begun
from openaq_pipeline.monitoring.delivery import tell
from openaq_pipeline.monitoring.metrics import metrics_of
from openaq_pipeline.monitoring.policy import policy_of
from openaq_pipeline.overview import overview
from openaq_pipeline.reports import STOPPED, Health, RunReport
from openaq_pipeline.settings import Settings
from openaq_pipeline.wiring import utc_now

DISK_HINT = "See that the disk of the data folder has room and can be written; the next run goes on from there."


def after_poll(settings: Settings, report: RunReport, now: datetime, *, whole: Settings | None = None) -> bool:
    """Note which conditions began and ended with this poll, tell what is due, and say whether everything is current.

    It takes half a minute at the most, whatever the channels do, and raises nothing of theirs. A poll that was stopped
    says nothing of how things are. `whole` has all that is selected where `settings` have but a few locations, chosen
    for this poll: it says nothing of the others.
    """
    if report.error == STOPPED:
        return False
    alerts = settings.monitoring.alerts
    fatal = FatalError(report.error or "", hint=report.hint) if report.needs_a_person else None
    stuck = StorageError(report.unsaved, hint=DISK_HINT) if report.unsaved else None
    health = overview(settings, now, shown_runs=0).health
    whole = whole or settings
    only_some = whole is not settings
    _tell(whole, assess(metrics_of(report), health, alerts, fatal=fatal, stuck=stuck, only_some=only_some))
    return stuck is None and report.complete and all_current(health)


def all_current(health: Health) -> bool:
    """Say whether each selected location has a row that is young enough, and each of its sensors can be read."""
    return bool(health.locations) and all(place.status == "current" and not place.parked for place in health.locations)


def after_no_poll(settings: Settings, error: PipelineError) -> None:
    """Tell what kept a poll from beginning, as `after_poll` tells of one that has ended."""
    _tell(settings, not_begun(error))


def _tell(settings: Settings, assessment: Assessment) -> None:
    file, policy = AlertFile(settings.data_dir), policy_of(settings)
    note_digest(settings, file, utc_now(), policy)
    tell(file, assessment, channels_of(settings.notifications, settings.environment), policy=policy)
