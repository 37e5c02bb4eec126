"""The commands and their flags. Imports nothing heavy: each command loads what it needs when it is called."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

from openaq_pipeline import __version__
from openaq_pipeline.cli.values import folder, hours, location_id, moment, pause, percent, positive
from openaq_pipeline.simulator.arguments import add_arguments as add_simulator_arguments

Command = Callable[[argparse.Namespace], int]


def make_parser(prog: str, arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser. A door's parser (`prog` ends in .py) shows its command's own help without naming it."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Own a complete, checked, always current copy of OpenAQ's air-quality data.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"openaq-pipeline {__version__}")
    parser.set_defaults(command=_help_of(parser))
    door = prog.endswith(".py") and bool(arguments)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    named = arguments[0] if arguments else None
    for name, add, summary in [each for each in COMMANDS if each[0] == named] or COMMANDS:
        add(
            commands.add_parser(
                name, prog=prog if door else None, help=summary, description=summary, allow_abbrev=False
            )
        )
    return parser


def _lazily(module: str, function: str = "main") -> Command:
    """Return a command that imports its module only when it is called."""

    def command(namespace: argparse.Namespace) -> int:
        code: int = getattr(importlib.import_module(module), function)(namespace)
        return code

    return command


def _help_of(parser: argparse.ArgumentParser) -> Command:
    """Return what happens without a command: help, and the exit code of bad usage."""

    def command(_: argparse.Namespace) -> int:
        parser.print_help()
        return 2

    return command


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="F", help="configuration file (default: config.yaml)")
    parser.add_argument("--data-dir", type=folder, metavar="D", help="data folder (default: data/)")
    parser.add_argument("--debug", action="store_true", help="log more, and show tracebacks")


def _add_init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(command=_lazily("openaq_pipeline.cli.init_command"))


def _add_run(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    _add_locations(parser)
    _add_range(parser, required=False)
    parser.add_argument(
        "--reset-state", action="store_true", help="read at least the first span (initial_days) anew; keeps the data"
    )
    parser.add_argument(
        "--max-requests",
        type=positive,
        metavar="N",
        help="plan N requests at most, the most urgent first; the rest waits for the next run (default: all)",
    )
    _add_yes(parser)
    _add_way(parser)


def _add_backfill(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    _add_locations(parser)
    _add_range(parser, required=True)
    _add_yes(parser)
    _add_way(parser)
    parser.set_defaults(reset_state=False, max_requests=None)


def _add_locations(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--locations",
        type=location_id,
        nargs="+",
        action="extend",
        metavar="ID",
        help="OpenAQ location ids (default: those of the config)",
    )


def _add_yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="take selections as large as they are; it is remembered")


def _add_range(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument(
        "--date-from",
        type=moment,
        required=required,
        metavar="T",
        help="fill a range of the past from here (ISO 8601, UTC); moves no watermark",
    )
    parser.add_argument(
        "--date-to",
        type=moment,
        metavar="T",
        help="end of that range; a date means its whole day (default: now)",
    )
    parser.add_argument(
        "--source",
        choices=("api", "archive", "auto"),
        help="where that range comes from: the API, OpenAQ's public archive (no request, no key), or auto: the archive "
        "for what is older than 4 days and the API for the rest (default: api)",
    )


def _add_way(parser: argparse.ArgumentParser) -> None:
    """Add how a run is done and told."""
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="show the plan and its cost in requests and minutes; write nothing",
    )
    parser.add_argument("--json", action="store_true", help="print the run report as JSON")
    parser.add_argument("--base-url", metavar="U", help="another OpenAQ, such as the simulator; ends in /v3")
    parser.set_defaults(command=_lazily("openaq_pipeline.cli.run_command"))


def _add_schedule(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    parser.add_argument(
        "--mode", choices=("interval", "cron", "once"), help="when to run (default: schedule.mode, interval)"
    )
    parser.add_argument(
        "--interval", type=hours, metavar="HOURS", help="hours from start to start, fractions allowed; mode interval"
    )
    _add_yes(parser)
    parser.add_argument("--cron", metavar="LINE", help='five fields such as "0 */2 * * *"; mode cron')
    parser.add_argument("--base-url", metavar="U", help="another OpenAQ, such as the simulator; ends in /v3")
    parser.set_defaults(command=_lazily("openaq_pipeline.cli.schedule_command"))


def _add_validate(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    parser.add_argument(
        "--file",
        action="append",
        metavar="F",
        help="a file or a glob, as given or else inside the data folder; repeatable",
    )
    parser.add_argument("--all", action="store_true", help="every location file of the data folder (the default)")
    parser.add_argument("--sample", type=positive, metavar="N", help="score only N rows of each file, drawn at random")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which sample is drawn (default: 0)")
    parser.add_argument("--output", type=Path, metavar="F", help="write the report to a file instead of printing it")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="form of the report (default: text)")
    parser.add_argument(
        "--min-quality",
        type=percent,
        metavar="P",
        help="exit 1 below this share of clean rows in percent (default: monitoring.alerts.min_quality_score, 90)",
    )
    parser.set_defaults(command=_lazily("openaq_pipeline.cli.validate_command"))


def _add_verify(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    parser.add_argument(
        "--repair",
        action="store_true",
        help="set aside what is damaged, keep every row that can be read and fetch the others again",
    )
    parser.add_argument(
        "--locations",
        type=location_id,
        nargs="+",
        action="extend",
        metavar="ID",
        help="OpenAQ location ids (default: all in the data folder)",
    )
    parser.add_argument("--json", action="store_true", help="print what is found as one JSON object")
    parser.add_argument("--base-url", metavar="U", help="fetch from another OpenAQ, such as the simulator; ends in /v3")
    parser.set_defaults(command=_lazily("openaq_pipeline.cli.verify_command"))


def _add_audit(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    _add_locations(parser)
    parser.add_argument(
        "--date-from", type=moment, metavar="T", help="from this day at the station (default: all that should be here)"
    )
    parser.add_argument("--date-to", type=moment, metavar="T", help="to this day, included (default: up to now)")
    parser.add_argument(
        "--offline", action="store_true", help="do not ask the archive: what it alone can tell stays unknown"
    )
    parser.add_argument(
        "--fix",
        action="store_true",
        help="fetch just what is missing, then look again; beside the scheduler if need be",
    )
    parser.add_argument("--json", action="store_true", help="print what is found as one JSON object")
    parser.add_argument("--base-url", metavar="U", help="fetch from another OpenAQ, such as the simulator; ends in /v3")
    parser.set_defaults(command=_lazily("openaq_pipeline.cli.audit_command"))


def _add_monitor(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    parser.add_argument("--history", type=positive, metavar="N", help="show the last N runs (default: 5, kept: 100)")
    job = parser.add_mutually_exclusive_group()
    job.add_argument(
        "--check", action="store_true", help="exit 0 if the last good run is recent enough, else 1; for health checks"
    )
    job.add_argument(
        "--test-alert",
        nargs="?",
        const="all",
        choices=("all", "slack", "email", "webhook", "apprise"),
        metavar="CHANNEL",
        help="send a test alert (to slack, email, webhook or apprise; default: all that are configured)",
    )
    job.add_argument("--serve", action="store_true", help="serve the status page until it is stopped")
    job.add_argument(
        "--watch",
        nargs="?",
        type=pause,
        const=5.0,
        metavar="SECONDS",
        help="show it anew every so many seconds (default: 5) until Ctrl-C",
    )
    parser.set_defaults(command=_lazily("openaq_pipeline.cli.monitor_command"))


def _add_query(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    parser.add_argument(
        "sql", metavar="SQL", help="a query over measurements, locations, sensors and runs (DuckDB's SQL)"
    )
    parser.add_argument(
        "--format",
        choices=("table", "csv", "json"),
        default="table",
        help="form of the answer; table shows its first 40 rows (default: table)",
    )
    parser.add_argument("--output", type=Path, metavar="F", help="write the answer to a file instead of printing it")
    parser.set_defaults(command=_lazily("openaq_pipeline.cli.query_command"))


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    parser.add_argument("--format", choices=("csv", "parquet", "json", "xlsx"), required=True, help="form of the file")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="F", help="the file; LICENSES.md is written beside it"
    )
    parser.add_argument(
        "--locations",
        type=location_id,
        nargs="+",
        action="extend",
        metavar="ID",
        help="OpenAQ location ids (default: all in the data folder)",
    )
    parser.add_argument("--parameters", nargs="+", action="extend", metavar="NAME", help="such as pm25 (default: all)")
    parser.add_argument(
        "--date-from", type=moment, metavar="T", help="periods that end later than this (ISO 8601, UTC; default: all)"
    )
    parser.add_argument(
        "--date-to",
        type=moment,
        metavar="T",
        help="periods that end up to this; a date means its whole day (default: all)",
    )
    parser.add_argument(
        "--include-restricted",
        action="store_true",
        help="export also what may not be redistributed or whose licence is unknown, for your own use",
    )
    parser.set_defaults(command=_lazily("openaq_pipeline.cli.export_command"))


def _add_backup(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    parser.add_argument("--output", required=True, metavar="F", help="the archive, a new .tar.gz file; - for stdout")
    parser.set_defaults(command=_lazily("openaq_pipeline.cli.backup_command"))


def _add_restore(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    parser.add_argument("archive", metavar="F", help="what `backup` has written; - for stdin")
    parser.add_argument("--check", action="store_true", help="only read it and say whether it is whole")
    parser.set_defaults(command=_lazily("openaq_pipeline.cli.restore_command"))


def _add_deliver(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    parser.set_defaults(command=_lazily("openaq_pipeline.cli.deliver_command"))


def _add_page(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    parser.add_argument(
        "--listening", type=int, required=True, metavar="N", help="the number of the open socket to serve on"
    )
    parser.add_argument("--ledger", type=Path, metavar="F", help="the file in which requests are counted")
    parser.set_defaults(command=_lazily("openaq_pipeline.cli.page_command"))


def _add_preflight(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")
    parser.set_defaults(command=_lazily("openaq_pipeline.cli.preflight_command"))


def _add_first_run(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    parser.set_defaults(command=_lazily("openaq_pipeline.cli.first_run_command"))


def _add_sync_postgres(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    parser.set_defaults(command=_lazily("openaq_pipeline.cli.sync_postgres_command"))


def _add_simulator(parser: argparse.ArgumentParser) -> None:
    add_simulator_arguments(parser)
    parser.set_defaults(command=_lazily("openaq_pipeline.simulator.command", "run"))


COMMANDS = (
    ("init", _add_init, "write a commented config.yaml and .env here to begin with; overwrites nothing"),
    ("run", _add_run, "bring every location up to now, or fill a range of the past"),
    ("backfill", _add_backfill, "fill a range of the past, from the API or OpenAQ's archive; goes on after a stop"),
    ("schedule", _add_schedule, "run again and again: the daemon"),
    ("validate", _add_validate, "check the files on disk"),
    ("verify", _add_verify, "check every byte of the data folder; --repair fetches again what is damaged"),
    ("audit", _add_audit, "see whether the copy is whole, against OpenAQ's archive; --fix fetches what is missing"),
    ("monitor", _add_monitor, "see how it is: health, last runs, sensors, budget; test the alerts"),
    ("query", _add_query, "ask the data on disk in SQL"),
    ("export", _add_export, "write the data on disk to one file, with their licences beside it"),
    ("backup", _add_backup, "write everything in the data folder to one archive, beside a running scheduler"),
    ("restore", _add_restore, "put a backup into a new data folder, or see whether it is whole"),
    ("deliver", _add_deliver, "send the alerts that are still to be told"),
    ("preflight", _add_preflight, "see whether it would work: settings, folder, OpenAQ, clock, channels"),
    ("page", _add_page, "serve the status page on a port that is handed over; the scheduler does so"),
    ("first-run", _add_first_run, "try it: a run with your key, or without one on made-up data"),
    ("sync-postgres", _add_sync_postgres, "bring the copy in PostgreSQL up to all the files, history included"),
    ("simulator", _add_simulator, "serve a local OpenAQ for tests and demos"),
)
