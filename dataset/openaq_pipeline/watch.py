"""After a poll: what a person should know is noted, and then told. See docs/decisions/0011-alerts.md."""

from __future__ import annotations

from datetime import datetime

from openaq_pipeline.errors import FatalError
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.monitoring.channels import channels_of
from openaq_pipeline.monitoring.conditions import assess
from openaq_pipeline.monitoring.delivery import Summary, tell
from openaq_pipeline.monitoring.metrics import metrics_of
from openaq_pipeline.overview import overview
from openaq_pipeline.reports import RunReport
from openaq_pipeline.settings import Settings
from openaq_pipeline.wiring import STOPPED


def after_poll(settings: Settings, report: RunReport, now: datetime) -> Summary | None:
    """Note which conditions began and ended with this poll, tell what is due, and return what came of that.

    It takes half a minute at the most, whatever the channels do, and raises nothing of theirs. None: the poll was
    stopped, and so says nothing of how things are.
    """
    if report.error == STOPPED:
        return None
    alerts = settings.monitoring.alerts
    fatal = FatalError(report.error or "", hint=report.hint) if report.needs_a_person else None
    health = overview(settings, now, shown_runs=0).health
    return tell(
        AlertFile(settings.data_dir),
        assess(metrics_of(report), health, alerts, fatal=fatal),
        channels_of(settings.notifications, settings.environment),
        cooldown_hours=alerts.cooldown_hours,
    )
