"""`page`: the status page as the daemon has it served, by settings and on a port that are handed over."""

from __future__ import annotations

import argparse
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from pydantic import ValidationError

from openaq_pipeline import pulse
from openaq_pipeline.bounded import NOTE_BYTES, whole
from openaq_pipeline.errors import ConfigError
from openaq_pipeline.files import storage_error
from openaq_pipeline.monitoring.log import set_up
from openaq_pipeline.settings import Settings
from openaq_pipeline.web import server

NICENESS = 5
"""So much the page gives way to a run, where the processor is short."""

LAST_SECONDS = 3.0
"""So long an end in order may take when the daemon is gone."""


def main(namespace: argparse.Namespace) -> int:
    """Serve until a signal comes or the daemon is gone; return the exit code."""
    settings = _handed_over(namespace)
    set_up(settings, to_file=False)
    with suppress(OSError):
        os.nice(NICENESS)
    server.serve(
        settings,
        lambda _: None,
        listening=_socket(namespace.listening),
        ledger=namespace.ledger,
        leaving=lambda stop: pulse.when_orphaned(lambda: _end(stop)),
    )
    return 0


def _handed_over(namespace: argparse.Namespace) -> Settings:
    """Return the settings in --config; nothing is read from the environment or `.env`, where secrets may be."""
    hint = "The scheduler starts this command; to see the page without it, use `monitor --serve`."
    if namespace.config is None:
        raise ConfigError("`page` needs the settings that the scheduler hands over", hint=hint)
    try:
        return Settings.model_validate_json(whole(namespace.config, NOTE_BYTES))
    except OSError as error:
        raise storage_error(error, namespace.config) from error
    except ValidationError as error:
        raise ConfigError(f"{namespace.config} holds no settings for the page", hint=hint) from error


def _socket(descriptor: int) -> socket.socket:
    try:
        return socket.socket(fileno=descriptor)
    except OSError as error:
        raise ConfigError(f"--listening {descriptor} is no open port: {error.strerror}") from error


def _end(stop: Callable[[], None]) -> None:
    """End in order, or if that hangs at once; called from a thread."""
    timer = threading.Timer(LAST_SECONDS, os._exit, [0])
    timer.daemon = True
    timer.start()
    stop()
