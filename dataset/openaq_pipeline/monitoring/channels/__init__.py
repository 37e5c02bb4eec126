"""The ways to tell somebody, made from the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, get_args

from openaq_pipeline.errors import DeliveryError
from openaq_pipeline.monitoring.channels.wording import Origin
from openaq_pipeline.reports import Channel, Notice
from openaq_pipeline.settings import NotificationSettings


class Sender(Protocol):
    """One channel."""

    def send(self, notice: Notice, *, timeout_seconds: float) -> None:
        """Deliver a notice; raises `DeliveryError`, whose text holds no secret."""


class Unusable:
    """A channel that is enabled but can't work: every notice fails with the reason, so that it is seen."""

    def __init__(self, error: DeliveryError) -> None:
        self.error = error

    def send(self, notice: Notice, *, timeout_seconds: float) -> None:
        """Raise the reason."""
        del notice, timeout_seconds
        raise DeliveryError(str(self.error), permanent=True, hint=self.error.hint)


def channels_of(notifications: NotificationSettings, environment: str) -> dict[Channel, Sender]:
    """Return the channels that are enabled; none while notifications as a whole are off."""
    origin = Origin.here(environment)
    return {channel: _made(make) for channel, make in _enabled(notifications, origin)}


def enabled_channels(notifications: NotificationSettings) -> frozenset[Channel]:
    """Return which channels are switched on, whether they work or not; imports no channel's code."""
    if not notifications.enabled:
        return frozenset()
    return frozenset(channel for channel in get_args(Channel) if getattr(notifications, channel).enabled)


def problems(notifications: NotificationSettings) -> dict[Channel, str]:
    """Return a sentence or two for each enabled channel that can't work as it is set; asks no server."""
    made = channels_of(notifications, "")
    return {channel: sender.error.advice for channel, sender in made.items() if isinstance(sender, Unusable)}


def _made(make: Callable[[], Sender]) -> Sender:
    try:
        return make()
    except DeliveryError as error:
        return Unusable(error)


def _enabled(notifications: NotificationSettings, origin: Origin) -> Iterator[tuple[Channel, Callable[[], Sender]]]:
    """Yield each enabled channel and what makes it; only these are imported, for a plain run's sake."""
    enabled = enabled_channels(notifications)
    if "slack" in enabled:
        from openaq_pipeline.monitoring.channels.slack import Slack  # noqa: PLC0415

        yield "slack", lambda: Slack(notifications.slack, origin)
    if "email" in enabled:
        from openaq_pipeline.monitoring.channels.email import Email  # noqa: PLC0415

        yield "email", lambda: Email(notifications.email, origin)
    if "webhook" in enabled:
        from openaq_pipeline.monitoring.channels.webhook import Webhook  # noqa: PLC0415

        yield "webhook", lambda: Webhook(notifications.webhook, origin)
