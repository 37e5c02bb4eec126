"""PIPELINE_README.md against the code: nothing left out, nothing that does not exist, every command works."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, SecretStr

from openaq_pipeline import cli, config
from openaq_pipeline.cli.arguments import make_parser
from openaq_pipeline.incremental.ledger import KINDS
from openaq_pipeline.model import (
    FileMark,
    License,
    LicenseTerms,
    Location,
    LocationState,
    Measurement,
    Reject,
    Sensor,
    SensorState,
)
from openaq_pipeline.monitoring import conditions
from openaq_pipeline.monitoring.alerts import Book
from openaq_pipeline.monitoring.channels.webhook import payload, signature
from openaq_pipeline.monitoring.channels.wording import Origin
from openaq_pipeline.monitoring.metrics import LocationMetrics, RunMetrics, SensorMetrics
from openaq_pipeline.openaq.budget import BudgetUse
from openaq_pipeline.overview import Overview
from openaq_pipeline.preflight import checks
from openaq_pipeline.quality import report
from openaq_pipeline.quality.rules import RULES
from openaq_pipeline.reports import Condition, Health, LocationHealth, Notice, ParkedSensor, SelectionReport
from openaq_pipeline.section import Section
from openaq_pipeline.settings import FileSettings
from openaq_pipeline.simulator.worlds import named
from openaq_pipeline.storage.ledgers import LETTERS, LocationLedger, SensorLedger
from openaq_pipeline.storage.selections import Resolved
from tests.conftest import ROOT, Program, Simulate
from tests.documents import MANUAL, section
from tests.test_docs import DOORS

PACKAGE = ROOT / "dataset/openaq_pipeline"
SOURCE = "\n".join(path.read_text() for path in sorted(PACKAGE.rglob("*.py")))
COMMON = {"--config", "--data-dir", "--debug"}
TABLE = "the table in `config.yaml`"

CONSOLE = [line[2:] for block in re.findall(r"```console\n(.*?)```", MANUAL, re.DOTALL) for line in block.splitlines()]
INLINE = re.findall(r"`((?:python dataset/|openaq-pipeline )[^`…]+|[a-z_]+\.py --[^`…]+)`", MANUAL)


def rows(text: str, head: str) -> list[list[str]]:
    """The cells of the table whose first column is headed so."""
    found = re.search(rf"^\| {head} \|.*\n\| --- .*\n((?:\|.*\n?)+)", text, re.MULTILINE)
    assert found, head
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]] for line in found[1].splitlines()]


def names(cells: list[list[str]]) -> list[str]:
    """What stands in code in the first column."""
    return [name for row in cells for name in re.findall(r"`([^`]+)`", row[0])]


def fields(kind: Any) -> set[str]:
    return set(kind.__struct_fields__)


def leaves(kind: type[Section], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key as the file has it, with its default."""
    for name, field in kind.model_fields.items():
        here = f"{prefix}{field.alias or name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from leaves(field.annotation, f"{here}.")
        else:
            yield here, field.get_default(call_default_factory=True)


def commands() -> dict[str, argparse.ArgumentParser]:
    parser = make_parser("openaq-pipeline", [])
    (found,) = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found)


def flags(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")} - {"--help"}


# --- commands ---


def test_every_command_has_its_chapter_and_no_other_is_described() -> None:
    assert re.findall(r"^### `([a-z-]+)`$", MANUAL, re.MULTILINE) == [
        "run",
        "backfill",
        "schedule",
        "validate",
        "monitor",
        "preflight",
        "query",
        "export",
        "sync-postgres",
        "verify",
        "audit",
        "backup",
        "restore",
        "deliver",
        "page",
        "init",
        "first-run",
        "simulator",
    ]
    assert set(re.findall(r"^### `([a-z-]+)`$", MANUAL, re.MULTILINE)) == set(commands())


@pytest.mark.parametrize("command", sorted(commands()))
def test_a_chapter_names_the_flags_of_its_command_and_no_other(command: str) -> None:
    text, parser = section(f"`{command}`"), commands()[command]
    table = rows(text, "flag") if "| flag |" in text else []
    shown = {name.split()[0] for name in names(table)}
    assert len(shown) == len(names(table))
    common = {"simulator": set[str](), "init": {"--debug"}}.get(command, COMMON)
    assert shown | common == flags(parser)


def test_the_flags_that_all_share_are_described_once() -> None:
    assert {name.split()[0] for name in names(rows(section("Commands"), "flag"))} == COMMON


def test_no_flag_is_spoken_of_that_does_not_exist() -> None:
    known = {flag for parser in commands().values() for flag in flags(parser)} | {"--help", "--version"}
    own = MANUAL.replace(section("Deployment"), "")  # there the flags of other programs are spoken of as well
    assert set(re.findall(r"(?<![\w|-])--[a-z][a-z-]+", own)) <= known


@pytest.mark.parametrize("command", sorted({*CONSOLE, *INLINE}))
def test_every_command_shown_is_understood(command: str) -> None:
    program, *arguments = shlex.split(re.sub(r"\[[^]]*\]", "", command))
    if program == "python":
        script = Path(arguments.pop(0))
        assert (ROOT / script).is_file()
        arguments.insert(0, DOORS[script.name])
    elif program in DOORS:
        arguments.insert(0, DOORS[program])
    else:
        assert program == "openaq-pipeline"
    make_parser("openaq-pipeline", arguments).parse_args(arguments)


def test_commands_are_shown_at_all() -> None:
    assert len(CONSOLE) > 5
    assert len(INLINE) > 5


@pytest.mark.parametrize("script", re.findall(r"`([a-z_]+\.py)`", MANUAL))
def test_every_module_and_script_named_exists(script: str) -> None:
    assert script in DOORS or list(PACKAGE.rglob(script))


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([a-z_]+/[a-z_/]*(?:\.py)?)`", MANUAL))))
def test_every_folder_and_module_named_exists(path: str) -> None:
    written = {"demo-data/", "rejects/", "history/", "records/"}
    assert path in written or (ROOT / path).exists() or (PACKAGE / path).exists()


def test_what_preflight_checks_is_all_described() -> None:
    known = [name for name, *_ in (*checks.WITHOUT_SETTINGS, *checks.WITH_SETTINGS)]
    assert sorted(names(rows(section("`preflight`"), "check"))) == sorted([*known, "configuration"])


# --- settings and environment ---


def test_every_key_stands_there_and_no_other() -> None:
    shown = names(rows(section("Settings"), "key"))
    assert sorted(shown) == sorted(key for key, _ in leaves(FileSettings))


@pytest.mark.parametrize(("key", "default"), list(leaves(FileSettings)))
def test_every_default_stands_there(key: str, default: Any) -> None:
    (row,) = [row for row in rows(section("Settings"), "key") if row[0] == f"`{key}`"]
    if default is None:
        assert row[1] == "none"
    elif isinstance(default, dict):
        assert row[1] == TABLE
    else:
        shown = yaml.safe_load(row[1].strip("`"))
        assert shown == (list(default) if isinstance(default, tuple) else default)


def test_every_setting_that_is_a_secret_is_called_one_with_its_variable() -> None:
    variables = {".".join(key): name for name, key in config.ENVIRONMENT_KEYS.items()}
    for row in rows(section("Settings"), "key"):
        (key,) = names([row])
        is_secret = tuple(key.split(".")) in config.SECRETS
        assert row[2].startswith(f"secret: `{variables.get(key)}`") == is_secret, key


def test_every_variable_that_is_read_stands_there_and_no_other() -> None:
    shown = set(names(rows(section("Environment"), "variable")))
    assert shown == {*config.ENVIRONMENT_KEYS, "PIPELINE_CONFIG", "ENVIRONMENT"}
    for name in re.findall(r"`([A-Z][A-Z_]+)`", section("Environment").split("From the real environment alone")[1]):
        assert name in SOURCE or name in {"HTTPS_PROXY", "NO_PROXY"}, name
    assert "`XDG_STATE_HOME`" in section("Environment")


def test_what_is_said_to_come_later_is_not_read_yet() -> None:
    for line in MANUAL.splitlines():
        if "later release" in line and (found := re.match(r"\| `([A-Za-z_.]+)` \|", line)):
            name = found[1].rpartition(".")[2]
            settings = {PACKAGE / "settings.py", PACKAGE / "config.py"}
            users = [path for path in PACKAGE.rglob("*.py") if path not in settings]
            assert not [
                path for path in users if re.search(rf"\b{name}\b(?!=)", path.read_text()) and name != "enabled"
            ]


# --- files ---

FILES = [name for name in names(rows(section("Files"), "file")) if not re.fullmatch(r"\.[0-9]", name)]


def pattern_of(name: str) -> str:
    """A documented name as a pattern: `{id}` stands for anything, `*` too."""
    parts = re.split(r"(\{[a-z]+\}|\*)", name)
    return "".join("[^/]+" if part.startswith("{") or part == "*" else re.escape(part) for part in parts)


@pytest.fixture
def written(program: Program, simulate: Simulate) -> set[str]:
    """The names in a data folder after a run that had something to alert of."""
    simulator = simulate(named.demo())
    program.configure(simulator.base_url, [3459], initial_days=2)
    settings = json.loads(program.config.read_text())
    settings["monitoring"] = {"alerts": {"stale_after_hours": 0.0001}}
    program.config.write_text(json.dumps(settings))
    assert program.load().code == 0
    return {path.relative_to(program.data).as_posix() for path in program.data.rglob("*") if path.is_file()}


def test_every_file_that_a_run_leaves_is_described(written: set[str]) -> None:
    for name in written:
        assert any(re.fullmatch(pattern_of(shown), name) for shown in FILES), name


def test_every_file_described_is_written_by_a_run_or_named_in_the_code(written: set[str]) -> None:
    in_trouble = {
        "rejects/location_{id}.jsonl": ".jsonl",
        "pipeline.log.1": "BACKUPS",
        "pipeline.log.5": "BACKUPS = 5",
        "history/location_id={id}/year={year}/measurements.parquet": '"measurements.parquet"',
        ".sealed/location_{id}.json": '".sealed"',
        ".backfill/location_{id}.json": '".backfill"',
        ".repair/location_{id}.json": '".repair"',
        ".audit/location_{id}.json": '".audit"',
        ".selections.json": 'NAME = ".selections.json"',
        ".location_{id}.loss": ".loss",
        "*.damaged-{time}": ".damaged-",
        ".restore/": 'STAGING, WHOLE = ".restore", ".restored"',
        ".restored/": 'STAGING, WHOLE = ".restore", ".restored"',
        ".*.tmp": ".tmp",
        ".probe": '".probe"',
    }
    for shown in FILES:
        if shown in in_trouble:
            assert in_trouble[shown] in SOURCE, shown
        else:
            assert any(re.fullmatch(pattern_of(shown), name) for name in written), shown


def test_the_ledger_is_where_it_is_said_to_be(written: set[str], program: Program) -> None:
    assert "locations.json" in written
    shown = re.findall(r"`(\.?budget-\{hash\}[^`]*)`", section("Files"))
    found = {path.name for path in (program.folder / "state" / "openaq-pipeline").iterdir()}
    assert found
    assert all(any(re.fullmatch(pattern_of(name), path) for name in shown) for path in found)
    assert all(any(re.fullmatch(pattern_of(name), path) for path in found) for name in shown)


def test_the_fields_of_a_row_stand_in_their_order() -> None:
    assert names(rows(section("Files"), "field")) == list(Measurement.__struct_fields__)


@pytest.mark.parametrize(
    ("file", "kinds", "more"),
    [
        ("`locations.json`", (Location, Sensor, License), set()),
        (
            "`.state.json`",
            (LocationState, SensorState, FileMark),
            {"version", "consecutive_failures", "locations"},
        ),
        ("`licenses.json`", (LicenseTerms,), set()),
        ("`.selections.json`", (Resolved,), {"version", "selections"}),
        ("`rejects/`", (Reject,), set()),
        ("`.alerts.json`", (Book,), set()),
        ("`.audit/`", (LocationLedger, SensorLedger), set()),
    ],
)
def test_every_field_of_the_other_files_stands_there(file: str, kinds: tuple[Any, ...], more: set[str]) -> None:
    found = re.search(rf"^\*\*{re.escape(file)}\*\*: (.*?)\n\n", section("Files"), re.MULTILINE | re.DOTALL)
    assert found
    shown = set(re.findall(r"`([a-z_]+)`", found[1]))
    assert shown == set().union(*map(fields, kinds)) | more


# --- rules, metrics, health, alerts, codes ---


def test_every_quality_rule_stands_there_in_the_order_of_issues() -> None:
    assert tuple(names(rows(section("Quality rules"), "rule"))) == RULES
    for rule in report._STRUCTURE:
        assert f"`{rule}`" in section("Quality rules"), rule


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ("run", RunMetrics),
        ("location", LocationMetrics),
        ("sensor", SensorMetrics),
        ("selection", SelectionReport),
    ],
)
def test_every_metric_stands_there_and_no_other(head: str, kind: Any) -> None:
    assert set(names(rows(section("Metrics"), head))) == fields(kind)


def test_every_state_of_health_stands_there() -> None:
    for head, kind in (("location is", LocationHealth), ("the whole is", Health)):
        (allowed,) = [field.type for field in _typed(kind) if field.name == "status"]
        assert set(names(rows(section("Health"), head))) == set(allowed.values)


def _typed(kind: Any) -> Any:
    from msgspec.inspect import StructType, type_info  # noqa: PLC0415 - for this alone

    info = type_info(kind)
    assert isinstance(info, StructType)
    return info.fields


def test_every_name_that_monitor_prints_as_json_stands_there() -> None:
    for kind in (Overview, Health, LocationHealth, ParkedSensor, BudgetUse):
        for name in fields(kind):
            assert f"`{name}`" in section("Health"), name


def test_every_condition_stands_there_and_no_other_with_its_severity() -> None:
    of_the_daemon = set(re.findall(r"^[A-Z_]+ = \"(hung_run|killed_run)\"", SOURCE, re.MULTILINE))
    table = rows(section("Alerts"), "condition")
    kinds = {name.removesuffix(":{id}"): row[1] for row in table for name in names([row])}
    assert {kind.partition(":")[0] for kind in kinds} == conditions.OF_A_RUN | of_the_daemon
    made = dict(re.findall(r"Condition\(\s*([A-Z_]+|key),\s*\"([a-z]+)\"", SOURCE))
    constants = dict(re.findall(r"^([A-Z_]+) = \"([a-z_:]+)\"", SOURCE, re.MULTILINE))
    for name, severity in made.items():
        kind = "silent" if name == "key" else constants.get(name, name.lower())
        assert kinds[kind] == severity, kind
    assert len(made) == len(kinds)


def notice() -> Notice:
    condition = Condition("silent:3459", "warning", "Kathmandu (3459) is silent", "It is.")
    return Notice("0d4f3f0e-6a35-5c0e-9f4e-6a0a5b7f7d11", "begun", condition, began=datetime(2026, 11, 23, tzinfo=UTC))


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", section("Alerts"), re.DOTALL)
    assert found, language
    return found[1]


def test_the_body_shown_is_what_the_webhook_sends() -> None:
    sent = json.loads(payload(notice(), Origin("production", "vm-1")))
    shown = json.loads(block("json"))
    assert list(shown) == list(sent)
    assert {key: type(value) for key, value in shown.items()} == {key: type(value) for key, value in sent.items()}


def test_the_verification_shown_believes_what_is_signed_and_nothing_else() -> None:
    space: dict[str, Any] = {}
    exec(block("python"), space)  # noqa: S102 - it is our own manual
    body = payload(notice(), Origin("production", "vm-1"))
    signed = signature(b"secret", body)
    assert space["is_ours"](body, signed, "secret")
    assert not space["is_ours"](body + b" ", signed, "secret")
    assert not space["is_ours"](body, signed, "another")
    assert not space["is_ours"](body, "sha256=é", "secret")


def test_every_kind_of_sensor_day_stands_there_with_its_letter() -> None:
    assert tuple(names(rows(section("`audit`"), "kind"))) == KINDS == tuple(LETTERS)
    for kind, letter in LETTERS.items():
        assert f"{letter} {kind.replace('_', ' ')}" in section("Files"), kind


def test_every_exit_code_stands_there() -> None:
    codes = [value for name, value in vars(cli).items() if name.startswith("EXIT_")]
    assert [int(row[0]) for row in rows(section("Exit codes"), "code")] == sorted(codes)


# --- the rest ---


def test_troubleshooting_names_sentences_that_the_program_says() -> None:
    table = rows(section("Troubleshooting"), "symptom")
    assert len(table) >= 15
    for symptom, *_ in table:
        for quoted in re.findall(r'"([^"]+)"', symptom):
            for part in quoted.split("…"):
                words = re.sub(r" (?:40[13]|from api\.openaq\.org|key|: No space left on device)$", "", part.strip())
                assert words.split(":")[0] in SOURCE or not words, words


def test_every_target_of_the_makefile_stands_there() -> None:
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {name.removeprefix("make ") for name in names(rows(section("Development"), "target"))} == set(targets) - {
        "help"
    }


def anchors(text: str) -> set[str]:
    """The anchors GitHub makes of a document's headings."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!https?:)([^)]+)\)", MANUAL))))
def test_every_link_leads_somewhere(link: str) -> None:
    path, _, anchor = link.partition("#")
    target = ROOT / path if path else ROOT / "PIPELINE_README.md"
    assert target.exists()
    assert not anchor or anchor in anchors(target.read_text())


def test_every_chapter_is_in_the_contents() -> None:
    contents = MANUAL.partition("## Concepts")[0]
    for title in re.findall(r"^## (.+)$", MANUAL, re.MULTILINE):
        assert f"[{title}](#{title.lower().replace(' ', '-')})" in contents


def test_no_secret_has_a_default() -> None:
    def secrets(section: BaseModel) -> Iterator[object]:
        for name in type(section).model_fields:
            value = getattr(section, name)
            if isinstance(value, BaseModel):
                yield from secrets(value)
            elif isinstance(value, SecretStr):
                yield value

    assert not list(secrets(FileSettings()))


def test_the_unit_of_systemd_starts_a_command_that_exists() -> None:
    unit = (ROOT / "deploy/systemd/openaq-pipeline.service").read_text()
    assert re.findall(r"ExecStart=\S+/openaq-pipeline (\S+)", unit) == ["schedule"]
    assert {"Type=notify", "WatchdogSec=3min", "KillMode=mixed"} <= set(unit.splitlines())
