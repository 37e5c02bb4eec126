"""What the command line asks for, put together and started."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC

from openaq_pipeline.errors import ConfigError
from openaq_pipeline.simulator.app import Options
from openaq_pipeline.simulator.clock import Clock
from openaq_pipeline.simulator.server import serve
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.simulator.worlds.base import World


def run(namespace: argparse.Namespace) -> int:
    """Serve as the parsed arguments say; 0 after SIGTERM or SIGINT, ConfigError if the port is taken."""
    start = namespace.start
    if start is not None and start.tzinfo is None:
        start = start.replace(tzinfo=UTC)
    clock = Clock(start, speed=namespace.speed)
    options = Options(
        requests_per_minute=namespace.requests_per_minute,
        keys=frozenset(namespace.key),
        nulls_crash=namespace.nulls_crash,
        compress=namespace.gzip,
    )
    try:
        serve(
            _world(namespace, clock),
            host=namespace.host,
            port=namespace.port,
            options=options,
            clock=clock,
            ready=_announce,
        )
    except OSError as error:
        raise ConfigError(
            f"The simulator can't listen on {namespace.host}:{namespace.port}: {error.strerror}.",
            hint="Choose another port with --port, or 0 for a free one.",
        ) from error
    return 0


def _world(namespace: argparse.Namespace, clock: Clock) -> World:
    if namespace.world == "bench":
        return named.bench(
            locations=namespace.bench_locations,
            sensors=namespace.bench_sensors,
            days=namespace.bench_days,
            late_share=namespace.bench_late,
            now=clock.now(),
        )
    if namespace.world == "planet":
        return named.planet(locations=namespace.bench_locations, now=clock.now())
    if namespace.world == "replay":
        if namespace.folder is None:
            raise ConfigError("The replay world needs recorded pages.", hint="Name their folder with --folder.")
        return named.replay(namespace.folder)
    return (
        named.demo(seed=namespace.seed, now=clock.now())
        if namespace.world == "demo"
        else named.quirks(seed=namespace.seed, now=clock.now())
    )


def _announce(base_url: str) -> None:
    sys.stdout.write(f"{base_url}\n")
    sys.stdout.flush()
