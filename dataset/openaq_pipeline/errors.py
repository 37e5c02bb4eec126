"""Errors, typed by what recovers from them, not by where they came from.

Each carries a `hint`: what to do next, in one sentence. The CLI prints `message` and `hint` and turns the type
into an exit code; everything that is not a `PipelineError` is a bug (exit code 4).
"""

from __future__ import annotations

from openaq_pipeline.redact import clean


class PipelineError(Exception):
    """Anything this program can explain. `str(error)` is one sentence, `error.hint` what to do (may be empty).

    Neither holds a secret, whatever they were made of: they are quoted in reports, in the state and in alerts.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(clean(message))
        self.hint = clean(hint)

    @property
    def advice(self) -> str:
        """Return what happened and what to do, in one or two sentences."""
        return f"{str(self).rstrip('.')}. {self.hint}" if self.hint else str(self)


class ConfigError(PipelineError):
    """The settings or the command line are wrong: the user mends them. `problems` holds one line for each."""

    def __init__(self, message: str, *, problems: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class FatalError(PipelineError):
    """Needs a person before anything can go on (key refused, address banned, a newer state): stop the run."""


class StorageError(PipelineError):
    """The data folder can't be read or written (full, read-only, no permission): this commit did not happen."""


class ItemMissing(PipelineError):
    """OpenAQ does not know this item or refuses this question (404, 422): drop the item, go on with the others."""


class RetriableError(PipelineError):
    """May pass by itself. `retry_after_seconds` is the least wait before the next try, None: the back-off decides."""

    def __init__(self, message: str, *, hint: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class Unreachable(RetriableError):
    """No answer at all (DNS, refused, reset, timeout): it concerns the network, not the item that was asked for."""


class ServerFault(RetriableError):
    """A 500: for a measurements page, usually one poisonous row; splitting the window in time gets past it."""


class WindowTooLarge(PipelineError):
    """A 408: the same question fails again, a smaller window may not."""


class SensorBroken(PipelineError):
    """This sensor's series can't be read to its end: park it and probe again later."""


class LockHeld(PipelineError):
    """Another process works on this data folder (exit code 3)."""


class DeliveryError(PipelineError):
    """The alert could not be delivered. `permanent`: another try would fare alike (refused password)."""

    def __init__(self, message: str, *, permanent: bool, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.permanent = permanent


class Stopped(PipelineError):
    """Somebody asked this process to stop: end in order and keep what is stored."""
