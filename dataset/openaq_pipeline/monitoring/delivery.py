"""The second step: send what is due, with a deadline for each try and for the whole, and never raise into a run."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from openaq_pipeline.errors import DeliveryError, PipelineError
from openaq_pipeline.monitoring.alert_file import AlertFile
from openaq_pipeline.monitoring.alerts import Book, Outgoing, due, is_hopeless, settle
from openaq_pipeline.monitoring.channels import Sender
from openaq_pipeline.monitoring.channels.wording import trial_notice
from openaq_pipeline.monitoring.conditions import Assessment
from openaq_pipeline.monitoring.telling import Policy, release, update
from openaq_pipeline.redact import clean
from openaq_pipeline.reports import Digest, Notice, Receiver

log = logging.getLogger(__name__)

CHANNEL_SECONDS, WHOLE_SECONDS = 10.0, 30.0
HEAD_START = 0.9
"""A channel gets a little less than is waited for it, so that it can say itself what was slow."""


class Limits(msgspec.Struct, frozen=True):
    """How long one try and all tries together may take, in seconds."""

    channel_seconds: float = CHANNEL_SECONDS
    whole_seconds: float = WHOLE_SECONDS


class Tried(msgspec.Struct, frozen=True):
    """One try. `error` says why it failed and what to do, None: delivered; `given_up`: no other try will follow."""

    channel: Receiver
    notice: Notice
    seconds: float
    error: str | None = None
    given_up: bool = False


class Summary(msgspec.Struct, frozen=True):
    """What came of a look at the outbox. `pending` notices are still to be sent.

    `problem` says why nothing could be looked at, None if it could; `busy`: another process was sending.
    """

    tried: tuple[Tried, ...] = ()
    pending: int = 0
    busy: bool = False
    problem: str | None = None

    @property
    def sent(self) -> tuple[Tried, ...]:
        """Return the tries that delivered."""
        return tuple(tried for tried in self.tried if tried.error is None)

    @property
    def failed(self) -> tuple[Tried, ...]:
        """Return the tries that did not."""
        return tuple(tried for tried in self.tried if tried.error is not None)


def _utc_now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def tell(
    file: AlertFile,
    assessment: Assessment,
    channels: Mapping[Receiver, Sender],
    *,
    policy: Policy,
    clock: Callable[[], datetime] = _utc_now,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Summary:
    """Store what begins and ends, then send what is due. Never raises `PipelineError`: see the summary."""
    now = clock()
    try:
        file.change(now, lambda book: update(book, assessment, now, policy))
    except PipelineError as error:
        log.warning("Alerts could not be noted: %s", error.advice)
        return Summary(problem=error.advice)
    return deliver(file, channels, policy=policy, clock=clock, limits=limits)


def deliver(
    file: AlertFile,
    channels: Mapping[Receiver, Sender],
    *,
    policy: Policy,
    clock: Callable[[], datetime] = _utc_now,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Summary:
    """Send what is due, and what need wait no longer; returns after `limits.whole_seconds`, whatever the channels do.

    While another process sends nothing is done. Never raises `PipelineError`: see the summary.
    """
    try:
        with file.delivering() as is_mine:
            if not is_mine:
                return Summary(busy=True)
            now = clock()
            file.change(now, lambda book: release(book, now, policy))
            return _Pass(file, channels, policy, clock, limits).run()
    except PipelineError as error:
        log.warning("Alerts could not be delivered: %s", error.advice)
        return Summary(problem=error.advice)


def send_test(
    channels: Mapping[Receiver, Sender],
    *,
    clock: Callable[[], datetime] = _utc_now,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> tuple[Tried, ...]:
    """Send a test notice on each channel at once, and return what happened. It is not stored and not tried again."""
    notice, tries = trial_notice(clock(), str(uuid4())), _Tries(channels)
    for channel in channels:
        tries.start(channel, notice, limits.channel_seconds)
    done = []
    while tries.running:
        channel, error, seconds = tries.next()
        done.append(_tried(channel, notice, seconds, error, given_up=error is not None))
    return tuple(sorted(done, key=lambda tried: list(channels).index(tried.channel)))


class _Try(msgspec.Struct, frozen=True):
    notice: Notice
    began: float
    ends: float


class _Tries:
    """Sends at most one notice a channel at a time, each in a thread that is left to itself at its deadline."""

    def __init__(self, channels: Mapping[Receiver, Sender]) -> None:
        self._channels = channels
        self._results: queue.SimpleQueue[tuple[Receiver, str, DeliveryError | None]] = queue.SimpleQueue()
        self.running: dict[Receiver, _Try] = {}

    def start(self, channel: Receiver, notice: Notice, seconds: float) -> None:
        """Begin to send; `next` will tell what came of it."""
        began = time.monotonic()
        self.running[channel] = _Try(notice, began, began + seconds)
        work = (channel, notice, seconds * HEAD_START)
        threading.Thread(target=self._send, args=work, name=f"alert-{channel}", daemon=True).start()

    def _send(self, channel: Receiver, notice: Notice, seconds: float) -> None:
        error = None
        try:
            self._channels[channel].send(cleaned(notice), timeout_seconds=seconds)
        except DeliveryError as problem:
            error = problem
        except Exception as problem:  # noqa: BLE001 - a bug in a channel must not end the run; its text may be secret
            error = DeliveryError(f"This is a bug of the {channel} channel: {type(problem).__name__}", permanent=False)
        self._results.put((channel, notice.id, error))

    def next(self) -> tuple[Receiver, DeliveryError | None, float]:
        """Wait for the next try that ends, by itself or at its deadline; return its channel, error and seconds."""
        while True:
            channel, tried = min(self.running.items(), key=lambda item: item[1].ends)
            left = tried.ends - time.monotonic()
            try:
                done, notice_id, error = self._results.get(timeout=max(0.0, left))
            except queue.Empty:
                late = DeliveryError(
                    f"No answer from {channel} in time",
                    permanent=False,
                    hint="Check whether it works and can be reached from here.",
                )
                return channel, late, self._end(channel)
            if done in self.running and self.running[done].notice.id == notice_id:
                return done, error, self._end(done)

    def _end(self, channel: Receiver) -> float:
        return time.monotonic() - self.running.pop(channel).began


class _Pass:
    """One look at the outbox: the channels side by side, each its notices one after the other."""

    def __init__(
        self,
        file: AlertFile,
        channels: Mapping[Receiver, Sender],
        policy: Policy,
        clock: Callable[[], datetime],
        limits: Limits,
    ) -> None:
        self._file, self._policy, self._clock, self._limits = file, policy, clock, limits
        self._ends = time.monotonic() + limits.whole_seconds
        self._channels, self._tries = channels, _Tries(channels)
        self._sending: dict[Receiver, Outgoing] = {}
        self._done: list[Tried] = []

    def run(self) -> Summary:
        """Send until nothing is due, or time is up; a channel that fails is left alone until the next pass."""
        book = self._file.read()
        self._start(self._channels, book)
        while self._tries.running:
            channel, error, seconds = self._tries.next()
            book = self._settle(channel, error, seconds)
            if error is None or error.permanent:
                self._start([channel], book)
        return Summary(tuple(self._done), pending=len(book.outbox))

    def _start(self, channels: Iterable[Receiver], book: Book) -> None:
        left = self._ends - time.monotonic()
        for channel in channels:
            now = self._clock()
            ready = due(book.outbox, now, channel, quiet=self._policy.quiet_until(now) is not None)
            if ready and left > 0:
                self._sending[channel] = ready[0]
                self._tries.start(channel, ready[0].notice, min(self._limits.channel_seconds, left))

    def _settle(self, channel: Receiver, error: DeliveryError | None, seconds: float) -> Book:
        """Store what came of a try before the next one begins."""
        entry, now = self._sending.pop(channel), self._clock()
        given_up = error is not None and is_hopeless(entry, now, error)
        self._done.append(_tried(channel, entry.notice, seconds, error, given_up=given_up))
        return self._file.change(now, lambda book: settle(book, entry, now, error))


def cleaned(notice: Notice) -> Notice:
    """Return a notice that holds no secret, whatever it was made of."""
    told = notice.condition
    condition = replace(told, title=clean(told.title), message=clean(told.message), hint=clean(told.hint))
    members = tuple(replace(member, subject=clean(member.subject)) for member in notice.members)
    return replace(notice, condition=condition, members=members, digest=_cleaned_digest(notice.digest))


def _cleaned_digest(digest: Digest | None) -> Digest | None:
    if digest is None:
        return None
    places = tuple(replace(place, name=clean(place.name)) for place in digest.places)
    alerts = tuple(replace(alert, title=clean(alert.title)) for alert in digest.alerts)
    return replace(digest, places=places, alerts=alerts)


def _tried(channel: Receiver, notice: Notice, seconds: float, error: DeliveryError | None, *, given_up: bool) -> Tried:
    """Return a try as the summary has it, and log it."""
    what = f"{notice.kind} {notice.condition.key}"
    if error is None:
        log.info("Told %s: %s", channel, what)
    else:
        log.warning("Could not tell %s (%s%s): %s", channel, what, ", given up" if given_up else "", error.advice)
    return Tried(channel, notice, round(seconds, 3), error.advice if error else None, given_up)
