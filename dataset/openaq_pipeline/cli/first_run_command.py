"""`first-run`: what `make run` does. With a key the real thing, without one the same on made-up data."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pydantic import SecretStr

from openaq_pipeline.cli import show
from openaq_pipeline.cli.progress import watching
from openaq_pipeline.cli.run_command import apply, exit_code, stopping
from openaq_pipeline.config import home, load
from openaq_pipeline.locks import make_folder
from openaq_pipeline.reports import RunReport
from openaq_pipeline.run import run_once
from openaq_pipeline.settings import Settings

WIDE = 1_000_000
"""The simulator of the first run sets no limit: a newcomer should not wait for a budget that is nobody's."""


def main(namespace: argparse.Namespace) -> int:
    """Run once and show what it got; return the exit code."""
    settings = load(config=namespace.config, data_dir=namespace.data_dir)
    apply(settings, to_file=settings.api.api_key is not None)
    if settings.api.api_key is not None:
        return _run(settings)
    print("OPENAQ_API_KEY is not set: this run shows MADE-UP data from the bundled simulator.")
    print("For real data, get a free key at https://explore.openaq.org/register, put it into .env and run again.\n")
    return _demonstrate(settings, namespace.data_dir or home() / "demo-data")


def _demonstrate(settings: Settings, folder: Path) -> int:
    """Run against a simulator on a free port of this machine; made-up rows go to a folder of their own."""
    from openaq_pipeline.simulator.app import Options  # noqa: PLC0415 - FastAPI costs a real run nothing
    from openaq_pipeline.simulator.server import running  # noqa: PLC0415
    from openaq_pipeline.simulator.worlds.named import demo  # noqa: PLC0415

    folder = folder.absolute()
    make_folder(folder)
    os.environ["XDG_STATE_HOME"] = str(folder)  # the simulator's requests are no business of a real key's ledger
    with running(demo(), options=Options(requests_per_minute=0)) as simulator:
        ids = [station.id for station in simulator.world.stations]
        return _run(_for_simulator(settings, simulator.base_url, ids, folder))


def _for_simulator(settings: Settings, base_url: str, ids: list[int], folder: Path) -> Settings:
    """Return the settings with the made-up world's own stations, whatever the user has listed."""
    api = settings.api.model_copy(
        update={
            "base_url": base_url,
            "api_key": SecretStr("made-up"),
            "requests_per_minute": WIDE,
            "requests_per_hour": WIDE,
        }
    )
    return settings.model_copy(update={"api": api, "locations": ids, "selections": (), "data_dir": folder})


def _run(settings: Settings) -> int:
    with stopping() as stop, watching() as watcher:
        report = run_once(settings, watcher=watcher, stop=stop)
    print(show.report(report, settings.data_dir))
    _show_file(settings.data_dir, report)
    return exit_code(report)


def _show_file(folder: Path, report: RunReport) -> None:
    """Show the last rows of one file, and how to go on."""
    ids = [location.location_id for location in report.locations if location.counts.fetched]
    path = folder / f"location_{ids[0]}.json" if ids else None
    if path is None or not path.exists():
        return
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        lines = file.read().decode().splitlines()[1:-1]
    print(f"\nThe last rows of {path.name}, one measurement a line:")
    for line in lines[-2:]:
        print(f"  {show.printable(line, 400)}")
    print("\nRun again: only what is new is fetched. README.md shows how to read the files.")
