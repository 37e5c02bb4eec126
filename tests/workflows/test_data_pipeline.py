"""data-pipeline.yml as a runner runs it: its shell steps for real; origin, cache, OpenAQ and Slack are our own."""

from __future__ import annotations

import json
import re
import sys
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from openaq_pipeline.simulator.server import Running
from tests.alerts.parts import Receiver
from tests.workflows.conftest import ROWS, WORKFLOW, Fork, add_late_row, assert_each_once, assert_well, git, ids, stamps
from tests.workflows.runner import Runner

# --- what is kept ---


def test_the_first_run_in_a_fresh_repository_makes_the_branch_of_the_data(fork: Fork, openaq: Running) -> None:
    done = fork.run()
    assert_well(done)
    (subject,) = fork.commits()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC: 192 rows new, 0 revised", subject)
    files = {f"location_{location_id}.json" for location_id in ids(openaq)}
    books = {".state.json", "locations.json", "metrics.json"}
    assert files | books <= set(fork.files()) <= files | books | {".alerts.json", "licenses.json"}
    assert [len(fork.rows(location_id)) for location_id in ids(openaq)] == [ROWS, ROWS]
    assert git(fork.origin, "log", "--format=%an %ae", "data").startswith("github-actions[bot] 41898282+")
    assert git(fork.origin, "log", "--oneline", "main").count("\n") == 1, "the code's branch stays as it is"


def test_a_row_that_is_new_is_a_line_of_the_diff_and_nothing_is_twice(fork: Fork, openaq: Running) -> None:
    fork.run()
    late = add_late_row(openaq)
    assert_well(fork.run())
    assert len(fork.commits()) == 2
    changed = git(fork.origin, "show", "--numstat", "--format=", "data", "--", "location_*.json").split()
    assert changed == ["1", "0", f"location_{ids(openaq)[0]}.json"]
    assert f'+{{"location_id":{ids(openaq)[0]},' in git(fork.origin, "show", "data")
    assert late in stamps(fork, ids(openaq)[0])
    assert_each_once(fork, ids(openaq)[0])


def test_nothing_new_is_no_commit_and_what_the_run_learnt_is_remembered_all_the_same(
    fork: Fork, openaq: Running
) -> None:
    fork.run()
    done = fork.run()
    assert_well(done)
    assert "nothing to commit" in done.steps["Keep the data"].log
    assert len(fork.commits()) == 1
    add_late_row(openaq)
    fork.run()
    assert len(json.loads(fork.show("metrics.json"))["runs"]) == 3


def test_what_is_remembered_counts_only_while_the_branch_stands_where_it_did(fork: Fork, openaq: Running) -> None:
    fork.run()
    fork.run()
    person = fork.clone()
    gone = person / f"location_{ids(openaq)[0]}.json"
    git(person, "rm", "--quiet", gone.name)
    git(person, "commit", "--quiet", "--message", "Away with it")
    git(person, "push", "--quiet")
    assert_well(fork.run())
    assert len(json.loads(fork.show("metrics.json"))["runs"]) == 2, "the second run's metrics belonged to other data"
    assert len(fork.rows(ids(openaq)[0])) == ROWS, "a state that is ahead of the data would leave a gap"


def test_without_a_cache_the_branch_is_enough(fork: Fork, openaq: Running) -> None:
    fork.run()
    fork.machines.cache.rename(fork.machines.cache.with_name("lost"))
    add_late_row(openaq)
    assert_well(fork.run())
    assert len(fork.rows(ids(openaq)[0])) == ROWS + 1
    assert_each_once(fork, ids(openaq)[0])


def test_a_run_that_falls_short_fails_the_workflow_and_what_came_in_is_kept(fork: Fork, openaq: Running) -> None:
    openaq.faults.inject("status", f"/sensors/{openaq.world.stations[0].sensors[0].id}/", status=404)
    done = fork.run()
    assert done.conclusion == "failure"
    assert done.steps["Run"].outputs == {"code": "1"}
    assert len(fork.rows(ids(openaq)[0])) == ROWS / 2
    assert len(fork.rows(ids(openaq)[1])) == ROWS
    assert "partial" in done.summary


TIME_IS_UP = """#!/bin/bash
shift 3
"$@" &
until compgen -G 'data/location_*.json' >/dev/null; do sleep 0.1; done
kill -TERM $!
wait $!
"""
"""`timeout` whose time is up as soon as rows are stored."""


def test_a_run_that_lasts_too_long_is_ended_and_what_it_has_is_kept(fork: Fork, openaq: Running) -> None:
    openaq.faults.inject("delay", f"/sensors/{openaq.world.stations[1].sensors[1].id}/", seconds=60)
    (fork.machines.tools / "timeout").write_text(TIME_IS_UP)
    (fork.machines.tools / "timeout").chmod(0o755)
    done = fork.run()
    assert done.conclusion == "failure"
    assert done.steps["Run"].outputs == {"code": "1"}
    assert fork.commits() == ["Rows of a run that was cut short"]
    assert len(fork.rows(ids(openaq)[0])) == ROWS


def test_bad_quality_fails_the_workflow_after_the_rows_are_kept(fork: Fork, openaq: Running) -> None:
    sensors = [sensor.parameter for sensor in openaq.world.stations[0].sensors]
    ranges = {"parameter_ranges": {str(getattr(each, "name", each)): [-2, -1] for each in sensors}}
    fork.configure(openaq.base_url, ids(openaq), validation=ranges)
    done = fork.run()
    assert done.conclusion == "failure"
    assert done.steps["Run"].outcome == "success"
    assert done.steps["Check what is stored"].outcome == "failure"
    assert len(fork.rows(ids(openaq)[0])) == ROWS
    assert "The check of what is stored has failed" in done.summary


# --- others push too ---


def test_a_branch_of_another_name_that_ends_alike_is_not_taken_for_that_of_the_data(
    fork: Fork, openaq: Running
) -> None:
    git(fork.origin, "branch", "new/data", "main")
    assert_well(fork.run())
    assert len(fork.rows(ids(openaq)[0])) == ROWS


def test_what_somebody_else_pushed_meanwhile_stays_and_so_does_ours(fork: Fork, openaq: Running) -> None:
    fork.run()
    late = add_late_row(openaq)

    def push(_workspace: Path) -> None:
        person = fork.clone()
        (person / "README.md").write_text("The air of our town.\n")
        git(person, "add", "--all")
        git(person, "commit", "--quiet", "--message", "A word to our visitors")
        git(person, "push", "--quiet")

    done = fork.run(before={"Keep the data": push})
    assert_well(done)
    assert "The push was refused" in done.steps["Keep the data"].log
    assert [subject[-9:] for subject in fork.commits()] == ["0 revised", " visitors", "0 revised"]
    assert fork.show("README.md") == "The air of our town.\n"
    assert late in stamps(fork, ids(openaq)[0])


def test_the_same_station_polled_elsewhere_is_brought_together_row_by_row(
    fork: Fork, openaq: Running, tmp_path: Path
) -> None:
    fork.run()
    both = add_late_row(openaq)
    theirs: list[str] = []

    def push(_workspace: Path) -> None:
        """Another machine has polled: it has the row too, stored at another second, and one more."""
        theirs.append(add_late_row(openaq, hours=3))
        assert_well(
            Runner(tmp_path / "elsewhere", fork.code, fork.url, sys.executable).run(WORKFLOW, secrets=fork.secrets)
        )

    done = fork.run(before={"Keep the data": push})
    assert_well(done)
    location_id = ids(openaq)[0]
    assert {both, *theirs} <= set(stamps(fork, location_id))
    assert len(fork.rows(location_id)) == ROWS + 2
    assert_each_once(fork, location_id)
    assert git(fork.origin, "rev-list", "--merges", "data") == ""


def test_a_branch_that_somebody_makes_during_the_first_run_is_gone_on_with(fork: Fork, openaq: Running) -> None:
    def push(_workspace: Path) -> None:
        person = fork.folder / "person"
        git(fork.folder, "init", "--quiet", "--initial-branch=data", str(person))
        (person / "README.md").write_text("The air of our town.\n")
        git(person, "add", "--all")
        git(person, "commit", "--quiet", "--message", "A word to our visitors")
        git(person, "push", "--quiet", fork.url, "data")

    assert_well(fork.run(before={"Keep the data": push}))
    assert [subject[-9:] for subject in fork.commits()] == ["0 revised", " visitors"]
    assert len(fork.rows(ids(openaq)[0])) == ROWS


def test_what_others_took_out_of_a_history_they_wrote_anew_stays_out(fork: Fork, openaq: Running) -> None:
    fork.run()
    late, (first, second) = add_late_row(openaq), ids(openaq)

    def push(_workspace: Path) -> None:
        person = fork.clone()
        git(person, "rm", "--quiet", f"location_{second}.json")
        git(person, "commit", "--quiet", "--amend", "--message", "Not for the public")
        git(person, "push", "--quiet", "--force")

    assert_well(fork.run(before={"Keep the data": push}))
    assert [subject[-9:] for subject in fork.commits()] == ["0 revised", "he public"]
    assert late in stamps(fork, first)
    assert f"location_{second}.json" not in fork.files()


def test_notes_of_one_station_on_both_sides_are_no_reason_to_refuse_its_rows(fork: Fork, openaq: Running) -> None:
    fork.run()
    late, name = add_late_row(openaq), f".repair/location_{ids(openaq)[0]}.json"

    def push(_workspace: Path) -> None:
        person = fork.clone()
        (person / name).parent.mkdir()
        (person / name).write_text("theirs\n")
        git(person, "add", "--all")
        git(person, "commit", "--quiet", "--message", "Their note")
        git(person, "push", "--quiet")

    def note(workspace: Path) -> None:
        (workspace / "data" / name).parent.mkdir()
        (workspace / "data" / name).write_text("ours\n")
        push(workspace)

    assert_well(fork.run(before={"Keep the data": note}))
    assert late in stamps(fork, ids(openaq)[0])
    assert fork.show(name) == "ours\n"


def test_what_cannot_be_brought_together_overwrites_nothing_and_is_in_the_artifact(fork: Fork, openaq: Running) -> None:
    fork.run()
    late = add_late_row(openaq)
    name = f"location_{ids(openaq)[0]}.json"

    def push(_workspace: Path) -> None:
        person = fork.clone()
        (person / name).write_text("what is this?\n")
        git(person, "commit", "--quiet", "--all", "--message", "An accident")
        git(person, "push", "--quiet")

    done = fork.run(before={"Keep the data": push})
    assert done.conclusion == "failure"
    assert "could not be pushed" in done.summary
    assert fork.show(name) == "what is this?\n"
    with tarfile.open(done.artifact / "unpushed.tar.gz") as tar:
        file = tar.extractfile(f"data/{name}")
        assert file
        assert late in [row["datetime"] for row in json.load(file)]
    after = fork.run()
    assert late in stamps(fork, ids(openaq)[0]), after.log
    assert_each_once(fork, ids(openaq)[0])
    assert any(".damaged-" in path for path in fork.files()), "the next run set the accident aside, and it is kept"


# --- the other store ---


def test_with_the_cache_as_the_store_no_branch_is_made_and_the_data_come_back(fork: Fork, openaq: Running) -> None:
    store = {"DATA_STORE": "cache"}
    assert_well(fork.run(vars=store, event="workflow_dispatch"))
    add_late_row(openaq)
    done = fork.run(vars=store)
    assert_well(done)
    assert json.loads((done.artifact / "run.json").read_text())["locations"][0]["new"] == 1
    assert fork.commits() == []
    assert "in GitHub's cache" in done.summary


def test_a_change_of_the_store_and_back_takes_nothing_from_the_branch(fork: Fork, openaq: Running) -> None:
    past = f"{datetime.now(UTC) - timedelta(days=3):%Y-%m-%d}"
    assert_well(fork.run(event="workflow_dispatch", inputs={"date-from": past}))
    assert_well(fork.run())
    before = stamps(fork, ids(openaq)[0])
    assert len(before) > ROWS
    store = {"DATA_STORE": "cache"}
    assert "start the workflow by hand" in fork.run(vars=store).summary, "the branch's books are no data"
    assert_well(fork.run(vars=store, event="workflow_dispatch"))
    late = add_late_row(openaq)
    assert_well(fork.run())
    assert {late, *before} <= set(stamps(fork, ids(openaq)[0]))
    assert_each_once(fork, ids(openaq)[0])


def test_where_there_is_no_branch_yet_what_the_cache_has_becomes_its_first_commit(fork: Fork, openaq: Running) -> None:
    past = f"{datetime.now(UTC) - timedelta(days=3):%Y-%m-%d}"
    inputs = {"date-from": past}
    assert_well(fork.run(vars={"DATA_STORE": "cache"}, event="workflow_dispatch", inputs=inputs))
    done = fork.run()
    assert_well(done)
    assert len(fork.rows(ids(openaq)[0])) > ROWS


def test_a_cache_that_has_vanished_is_not_taken_for_a_first_run(fork: Fork) -> None:
    done = fork.run(vars={"DATA_STORE": "cache"})
    assert done.conclusion == "failure"
    assert "start the workflow by hand" in done.summary
    assert done.steps["Run"].outcome == "skipped"


def test_a_cache_that_is_out_of_reach_for_once_has_the_data_afterwards(fork: Fork) -> None:
    store = {"DATA_STORE": "cache"}
    assert_well(fork.run(vars=store, event="workflow_dispatch"))
    cache, away = fork.machines.cache, fork.machines.cache.with_name("away")
    at_its_restore_and_after = {
        "Restore what the last run remembered": lambda _: cache.rename(away),
        "Set up Python": lambda _: away.rename(cache),
    }
    done = fork.run(vars=store, before=at_its_restore_and_after)
    assert done.conclusion == "failure"
    after = fork.run(vars=store)
    assert_well(after)
    counts = json.loads((after.artifact / "run.json").read_text())
    assert counts["total_records_fetched"] == counts["total_records_deduplicated"] > 0


def test_a_failure_before_the_data_are_taken_up_is_told_once_and_loses_nothing_of_what_is_remembered(
    fork: Fork, openaq: Running, slack: Receiver
) -> None:
    fork.secrets["SLACK_WEBHOOK_URL"] = slack.url("/the-secret")
    assert_well(fork.run())
    assert_well(fork.run())
    for _ in range(2):
        assert fork.run(vars={"DATA_STORE": "wrong"}).conclusion == "failure"
    assert len(slack.received) == 1
    add_late_row(openaq)
    fork.run()
    assert len(json.loads(fork.show("metrics.json"))["runs"]) == 3


def test_a_store_that_does_not_exist_is_refused_before_anything_is_asked(fork: Fork, openaq: Running) -> None:
    done = fork.run(vars={"DATA_STORE": "$(touch pwned)"})
    assert done.conclusion == "failure"
    assert "It is commit or cache" in done.summary
    assert openaq.requests.total == 0


def test_a_branch_of_the_code_is_never_taken_for_that_of_the_data(fork: Fork) -> None:
    assert "no branch of their own" in fork.run(ref="data").summary
