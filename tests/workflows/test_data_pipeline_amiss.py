"""data-pipeline.yml where something is amiss: OpenAQ, Slack, a secret or an input of whoever starts it."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from openaq_pipeline.simulator.server import Running
from tests.alerts.parts import Receiver, status
from tests.workflows.conftest import ROWS, Fork, add_late_row, assert_well, ids

NOBODY = "http://127.0.0.1:9/v3"


# --- when things go wrong ---


def test_with_openaq_down_the_workflow_fails_the_data_stay_and_slack_is_told_once(
    fork: Fork, openaq: Running, slack: Receiver
) -> None:
    fork.secrets["SLACK_WEBHOOK_URL"] = slack.url("/services/T0/B0/the-secret")
    assert_well(fork.run())
    before = fork.show(f"location_{ids(openaq)[0]}.json")
    fork.configure(NOBODY, ids(openaq))
    runs = [fork.run(), fork.run()]
    assert [done.conclusion for done in runs] == ["failure", "failure"]
    assert fork.show(f"location_{ids(openaq)[0]}.json") == before
    assert len(fork.commits()) == 1
    (told,) = slack.received
    assert "The run fell short or failed" in told.json["text"]
    assert "https://github.example/somebody/air/actions/runs/2" in told.json["text"]
    assert "the-key-of-the-test" not in told.body.decode()
    fork.configure(openaq.base_url, ids(openaq))
    runs += [fork.run(), fork.run()]
    assert [received.json["text"].splitlines()[0] for received in slack.received[1:]] == [
        "Data pipeline of somebody/air: The runs are well again"
    ]
    for done in runs:
        assert "the-secret" not in done.log + done.summary
    add_late_row(openaq)
    fork.run()
    failures = [run["consecutive_failures"] for run in json.loads(fork.show("metrics.json"))["runs"]]
    assert failures == [0, 1, 2, 0, 0, 0]


def test_a_slack_that_is_away_fails_nothing_and_is_told_at_the_next_run(fork: Fork, slack: Receiver) -> None:
    fork.secrets = {"SLACK_WEBHOOK_URL": slack.url("/the-secret")}
    slack.answer = status(500)
    done = fork.run()
    assert done.steps["Tell Slack"] == ("success", "::warning title=Slack was not told::Slack answered 500\n", {})
    slack.answer = status(200)
    fork.run()
    fork.run()
    assert len(slack.received) == 2


def test_slack_is_followed_to_no_other_address(fork: Fork, slack: Receiver) -> None:
    fork.secrets = {"SLACK_WEBHOOK_URL": slack.url("/hook")}
    slack.answer = status(302, Location=slack.url("/elsewhere"))
    done = fork.run()
    assert "Slack answered 302" in done.steps["Tell Slack"].log
    assert [received.path for received in slack.received] == ["/hook"]


@pytest.mark.parametrize("address", ["", "not an address", "http://127.0.0.1:9/the-secret", "ftp://x/the-secret"])
def test_an_address_that_is_missing_or_wrong_fails_nothing_and_is_quoted_nowhere(fork: Fork, address: str) -> None:
    fork.secrets = {"SLACK_WEBHOOK_URL": address}
    done = fork.run()
    assert done.steps["Tell Slack"].outcome == "success"
    assert not address or address not in done.log
    assert "the-secret" not in done.log


def test_a_missing_key_says_what_to_set_in_the_log_and_on_the_page_of_the_run(fork: Fork) -> None:
    fork.secrets = {}
    done = fork.run()
    assert done.conclusion == "failure"
    assert done.steps["Run"].log.startswith("::error title=There is no key::Set the secret OPENAQ_API_KEY")
    assert done.summary.count("Set the secret OPENAQ_API_KEY under Settings") == 1
    assert fork.commits() == []
    assert done.steps["Check what is stored"].outcome == "success"


def test_the_logs_are_in_the_artifact_whatever_happens_and_no_secret_is(fork: Fork, openaq: Running) -> None:
    assert {path.name for path in fork.run().artifact.iterdir()} >= {"run.json", "run.log", "pipeline.log", "check.txt"}
    fork.configure(NOBODY, ids(openaq))
    failed = fork.run()
    assert (failed.artifact / "pipeline.log").stat().st_size
    for path in failed.artifact.iterdir():
        assert "the-key-of-the-test" not in path.read_text()
        assert "the-token" not in path.read_text()


def test_the_token_is_in_no_file_but_git_is_given_it_when_the_server_asks(fork: Fork) -> None:
    said: list[str] = []

    def ask(workspace: Path) -> None:
        config = (workspace / "data/.git/config").read_text()
        assert "the-token" not in config
        done = subprocess.run(
            ["git", "-C", str(workspace / "data"), "credential", "fill"],
            input="protocol=https\nhost=github.example\n\n",
            env={"PATH": "/usr/bin:/bin", "GITHUB_TOKEN": "the-token", "HOME": str(workspace)},
            text=True,
            capture_output=True,
            check=True,
        )
        said.append(done.stdout)

    fork.run(before={"Run": ask})
    assert "username=x-access-token\npassword=the-token\n" in said[0]


# --- inputs ---

ODD = ["$(touch pwned)", "`touch pwned`", "3459; touch pwned", "3459\ntouch pwned", '"', "'", "3459 --data-dir pwned",
       "*", "${OPENAQ_API_KEY}", "3459\n::add-mask::3459", "§", "3 9 -1", "1" * 40]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "odd"),
    [("locations", odd) for odd in ODD]
    + [(name, odd) for name in ("date-from", "date-to", "source", "max-requests") for odd in ODD[:5:4]],
)
def test_odd_inputs_are_refused_and_do_no_harm(refusing: Fork, name: str, odd: str) -> None:
    more = {"date-from": "2025-01-01"} if name == "source" else {}
    done = refusing.run(event="workflow_dispatch", inputs={**more, name: odd})
    assert done.conclusion == "failure"
    assert done.steps["Run"].outcome == "failure"
    assert done.steps["Keep the data"].outcome == "success"
    assert not list(refusing.folder.rglob("*pwned*"))
    assert "the-key-of-the-test" not in done.log
    assert not re.search(r"^::add-mask", _obeyed(done.log), re.MULTILINE)
    assert refusing.commits() == []


def _obeyed(log: str) -> str:
    """What of a log the runner would look for commands in."""
    return re.sub(r"^::stop-commands::(\w+)\n.*?^::\1::\n", "", log, flags=re.MULTILINE | re.DOTALL)


def test_inputs_choose_locations_a_range_and_how_much_is_asked(fork: Fork, openaq: Running) -> None:
    first, second = ids(openaq)
    assert_well(fork.run(event="workflow_dispatch", inputs={"locations": f" {first},\n", "max-requests": "50"}))
    assert f"location_{first}.json" in fork.files()
    assert f"location_{second}.json" not in fork.files()
    days = {"date-from": f"{datetime.now(UTC) - timedelta(days=3):%Y-%m-%d}", "source": "api"}
    assert_well(fork.run(event="workflow_dispatch", inputs=days | {"date-to": "", "reset-state": False}))
    assert len(fork.rows(second)) > ROWS
    before = openaq.requests.total
    assert_well(fork.run(event="workflow_dispatch", inputs={"max-requests": "2", "reset-state": True}))
    assert openaq.requests.total - before <= 2
