"""How and whom to tell, as the settings have it; imports no channel's code."""

from __future__ import annotations

from datetime import time, timedelta

from openaq_pipeline.monitoring.channels import receivers
from openaq_pipeline.monitoring.quiet import QuietHours
from openaq_pipeline.monitoring.telling import Policy
from openaq_pipeline.monitoring.weekly import Weekly
from openaq_pipeline.settings import WEEKDAYS, NotificationSettings, Settings


def policy_of(settings: Settings) -> Policy:
    """Return the policy of these settings; it has no receivers while notifications are off."""
    told, zone = settings.notifications, timezone_of(settings)
    return Policy(
        receivers=receivers(told),
        cooldown=timedelta(hours=settings.monitoring.alerts.cooldown_hours),
        pause=timedelta(hours=told.group_hours),
        escalate_after=timedelta(hours=told.escalate_after_hours) if told.escalate_after_hours else None,
        quiet=_quiet(told, zone),
        digest=Weekly(WEEKDAYS.index(told.digest.weekday), told.digest.hour, zone) if told.digest.enabled else None,
    )


def timezone_of(settings: Settings) -> str:
    """Return the time zone of the people who are told."""
    return settings.notifications.timezone or settings.schedule.timezone


def _quiet(told: NotificationSettings, zone: str) -> QuietHours | None:
    hours = told.quiet_hours
    if not hours.start:
        return None
    return QuietHours(time.fromisoformat(hours.start), time.fromisoformat(hours.to), zone)
