"""The ways to tell somebody, made from the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol, get_args

from openaq_pipeline.errors import DeliveryError
from openaq_pipeline.installed import NotInstalled
from openaq_pipeline.monitoring.channels.wording import Origin
from openaq_pipeline.reports import Channel, Notice, Receiver, Severity
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


def channels_of(notifications: NotificationSettings, environment: str) -> dict[Receiver, Sender]:
    """Return the receivers that are told; none while notifications as a whole are off."""
    origin = Origin.here(environment)
    return {receiver: _made(make) for receiver, make in _enabled(notifications, origin)}


def receivers(notifications: NotificationSettings) -> dict[Receiver, Severity]:
    """Return who is told, whether that works or not, with the lowest level of each; imports no channel's code."""
    if not notifications.enabled:
        return {}
    return {
        receiver: getattr(notifications, channel).min_severity
        for channel in get_args(Channel)
        if getattr(notifications, channel).enabled
        for receiver in _of_channel(channel, notifications)
    }


def _of_channel(channel: Channel, notifications: NotificationSettings) -> list[Receiver]:
    """Return the receivers of a channel: itself, or each of its addresses, so that one that fails repeats no other."""
    if channel != "apprise":
        return [channel]
    return [f"{channel}:{number}" for number in range(1, max(1, len(notifications.apprise.addresses)) + 1)]


def problems(notifications: NotificationSettings) -> dict[Receiver, str]:
    """Return a sentence or two for each receiver that can't work as it is set; asks no server."""
    made = channels_of(notifications, "")
    return {receiver: problem.advice for receiver, sender in made.items() if (problem := _problem(sender))}


def _problem(sender: Sender) -> DeliveryError | None:
    if isinstance(sender, Unusable):
        return sender.error
    try:
        getattr(sender, "check", lambda: None)()  # what costs too much to look at for a plain run
    except DeliveryError as error:
        return error
    return None


def _made(make: Callable[[], Sender]) -> Sender:
    try:
        return make()
    except DeliveryError as error:
        return Unusable(error)
    except NotInstalled as error:
        return Unusable(DeliveryError(str(error), permanent=True, hint=error.hint))


def _enabled(notifications: NotificationSettings, origin: Origin) -> Iterator[tuple[Receiver, Callable[[], Sender]]]:
    """Yield each receiver and what makes it; only these are imported, for a plain run's sake."""
    enabled = receivers(notifications)
    if "slack" in enabled:
        from openaq_pipeline.monitoring.channels.slack import Slack  # noqa: PLC0415

        yield "slack", lambda: Slack(notifications.slack, origin)
    if "email" in enabled:
        from openaq_pipeline.monitoring.channels.email import Email  # noqa: PLC0415

        yield "email", lambda: Email(notifications.email, origin)
    if "webhook" in enabled:
        from openaq_pipeline.monitoring.channels.webhook import Webhook  # noqa: PLC0415

        yield "webhook", lambda: Webhook(notifications.webhook, origin)
    addresses = notifications.apprise.addresses or [""]
    for receiver, address in zip((each for each in enabled if each.startswith("apprise")), addresses, strict=False):
        from openaq_pipeline.monitoring.channels.apprise import AppriseAddress  # noqa: PLC0415

        yield receiver, partial(AppriseAddress, receiver, address, origin)
