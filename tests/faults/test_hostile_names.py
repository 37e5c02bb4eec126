"""Names that want to be more than names: markup, formulas, paths, terminal codes, forged lines. Each stays a text.

Here it is about ids that want to be paths, and about all that shows or files names but the page: see `test_page`.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest

from openaq_pipeline.cli import show, show_health
from openaq_pipeline.cli.arguments import make_parser
from openaq_pipeline.model import Window
from openaq_pipeline.monitoring.channels import email, slack
from openaq_pipeline.monitoring.channels.wording import Origin
from openaq_pipeline.overview import overview
from openaq_pipeline.reading.export import export
from openaq_pipeline.reports import Condition, Notice
from openaq_pipeline.settings import EmailSettings
from tests.faults import oracle
from tests.faults.conftest import Tally
from tests.faults.faulty import Exchange
from tests.faults.net import LATER, Bench, bench, copied

HOSTILE = [
    '=HYPERLINK("http://evil.example";"x")',
    "../../../../etc/passwd",
    "<script>alert(1)</script><!channel> <http://evil.example|click> & {{7*7}}",
    "a\r\nSubject: forged\r\n\r\n\x1b]0;owned\x07\x1b[2J\u202egnp.exe\u2028ERROR forged",
    "'; DROP TABLE measurements; -- %s%n `rm -rf /` $(reboot) [x](javascript:alert(1))",
]
OURS = re.compile(
    r"(\.locks|rejects|history|\.sealed)(/.*)?|location_\d+\.json|\.location_\d+\.loss"
    r"|(locations|metrics|licenses)\.json|\.(state|alerts|selections)\.json|\.lock|pipeline\.log"
)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("old")) as made:
        yield made


def renaming(name: str) -> Any:
    """Return a manner that puts a name wherever OpenAQ has one."""

    def manner(to: Exchange) -> bool:
        page = json.loads(to.good()[1])
        for each in page["results"]:
            if "sensors" in each:
                each |= {"name": name, "locality": name}
                each["provider"] = each["owner"] = {"id": 1, "name": name}
                each["licenses"] = [{"id": 41, "name": name, "attribution": {"name": name, "url": name}}]
            for sensor in (each, *each.get("sensors", [])):
                if "parameter" in sensor:
                    sensor["parameter"] |= {"units": name, "displayName": name}
        return to.reply(json.dumps(page).encode())

    return manner


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_stored_exactly_and_stays_a_text_wherever_it_is_shown(
    old: Bench, tmp_path: Path, name: str, tally: Tally
) -> None:
    with copied(old, tmp_path) as made:
        (made.folder / "locations.json").unlink()
        before = {path.name for path in tmp_path.rglob("*") if made.folder not in path.parents}
        made.server.arm(renaming(name), "/locations|/measurements")
        report = made.poll(LATER)
        assert report.complete
        oracle.check(made.folder, restarted=True)
        written = [path.relative_to(made.folder).as_posix() for path in made.folder.rglob("*")]
        assert not [path for path in written if not OURS.fullmatch(path)], "no file has a name from outside"
        beside = {path.name for path in tmp_path.rglob("*") if made.folder not in path.parents} - before
        assert {name.removeprefix(".").partition(".sqlite")[0] for name in beside} <= {"ledger"}
        shown = show.report(report, made.folder)
        how = overview(made.settings(made.folder), made.simulator.clock.now(), shown_runs=5)
        for text in (shown, show_health.text(how, made.simulator.clock.now())):
            assert all(char.isprintable() or char == "\n" for char in text)
            assert not [line for line in text.splitlines() if line.startswith(("ERROR", "Subject"))]
        assert units_in_csv(made.folder, tmp_path) <= {name, f"'{name}", "µg/m³"}
        tally(29, "hostile names through the whole loader", 1)


def units_in_csv(folder: Path, place: Path) -> set[str]:
    """Export, and return what a spreadsheet sees as units; none of it is a formula."""
    now = datetime(2026, 12, 1, tzinfo=UTC)
    (place / "out").mkdir()
    window = Window(now - timedelta(days=90), now)
    export(folder, "csv", place / "out/all.csv", now, window=window, include_restricted=True)
    with (place / "out/all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert not [cell for row in rows for cell in (row["units"], row["parameter"]) if cell[:1] in {*"=+-@\t\r\n"}]
    assert "<script>" not in (place / "out/LICENSES.md").read_text()
    return {row["units"] for row in rows}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_in_an_alert_is_no_markup_and_no_header(name: str, tally: Tally) -> None:
    condition = Condition("silent:7", "warning", f"{name} (7) is silent", name, name)
    notice, origin = Notice("id", "begun", condition, began=datetime(2026, 11, 23, tzinfo=UTC)), Origin("", "host")
    settings = EmailSettings.model_validate({"host": "h", "from": "a@b.example", "to": ["c@d.example"]})
    mail = message_from_bytes(email.message(notice, origin, settings).as_bytes(), policy=SMTP)
    assert mail.get_all("Subject") == [mail["Subject"]]
    html = email.html(notice, origin, pictured=False)
    assert "<script" not in html
    assert "<http" not in html
    block_kit = json.dumps(slack.message(notice, origin))
    assert "<" not in block_kit
    assert ">" not in block_kit
    tally(29, "hostile names in alerts", 1)


@pytest.mark.parametrize(
    "bad", ["../../x", "1/../2", "0", "-1", "1e3", "\uff11\uff12", "1 ", "2147483648", "9" * 5000, "1\n", "", "\x00"]
)
@pytest.mark.parametrize("command", ["run", "backfill", "export", "verify"])
def test_an_id_that_wants_to_be_a_path_is_bad_usage(
    command: str, bad: str, capsys: pytest.CaptureFixture[str], tally: Tally
) -> None:
    with pytest.raises(SystemExit) as caught:
        make_parser("openaq-pipeline", [command]).parse_args([command, "--locations", bad])
    assert caught.value.code == 2
    assert "is not a location id" in capsys.readouterr().err
    tally(29, "ids that want to be paths", 1)
