"""The service on a real systemd, installed as the manual says: it starts, is watched over, and can do nothing else.

A machine in a container, with the simulator as its OpenAQ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.containers.conftest import one_at_a_time
from tests.containers.engine import Engine, until
from tests.containers.machines.machine import Machine, prepare, running
from tests.documents import blocks

INSTALL, KEY, START, LOOK = blocks("systemd")
DATA = "/var/lib/openaq-pipeline/data"
IDS = (3459, 5506835)
SIMULATOR = "/opt/openaq-pipeline/bin/openaq-pipeline simulator --port 8900 --requests-per-minute 0"

IMPATIENT = """[Service]
RestartSec=1
WatchdogSec=4
TimeoutAbortSec=2
"""


@pytest.fixture(scope="module")
def machine(engine: Engine) -> Iterator[Machine]:
    """A machine on which the manual's steps were taken, and the daemon has had its first run."""
    with one_at_a_time():
        prepare(engine)
    with running(engine, "host-systemd") as made:
        made(INSTALL)
        made(f"printf '[Service]\\nExecStart={SIMULATOR}\\n' > /run/systemd/system/simulator.service")
        made("systemctl start simulator")
        made("echo OPENAQ_BASE_URL=http://127.0.0.1:8900/v3 > /etc/openaq-pipeline/.env")
        configure(made, IDS)
        made(KEY, stdin="the-key\n")
        until(lambda: made.tried("curl --silent http://127.0.0.1:8900/").code == 0, "OpenAQ answers")
        made(START)
        made.says("The next run is due at")
        yield made


@pytest.fixture
def as_before(machine: Machine) -> Iterator[None]:
    """After a test that stops the service, or gives it other settings, it runs as before."""
    yield
    machine("rm -rf /run/systemd/system/openaq-pipeline.service.d; systemctl daemon-reload")
    configure(machine, IDS)
    machine("systemctl reset-failed openaq-pipeline || true; systemctl restart openaq-pipeline")


changes_it = pytest.mark.usefixtures("as_before")


def configure(machine: Machine, ids: tuple[int, ...], **more: object) -> None:
    settings = {"locations": ids, "data": {"initial_days": 2}, **more}
    machine("cat > /etc/openaq-pipeline/config.yaml", stdin=json.dumps(settings))


def rows(machine: Machine, location_id: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(machine(f"cat {DATA}/location_{location_id}.json"))
    return found


def named(row: dict[str, Any]) -> tuple[int, str]:
    return row["sensors_id"], row["datetime"]


def make_impatient(machine: Machine) -> None:
    """Let the watchdog, and whoever starts the service again, wait for seconds and not for minutes."""
    folder = "/run/systemd/system/openaq-pipeline.service.d"
    machine(f"mkdir -p {folder} && cat > {folder}/impatient.conf", stdin=IMPATIENT)
    machine("systemctl daemon-reload && systemctl restart openaq-pipeline")


def restarted(machine: Machine, before: str) -> bool:
    """Say whether another process than before is ready."""
    return machine.shows("ActiveState") == "active" and machine.shows("MainPID") != before


def in_the_sandbox(machine: Machine, script: str) -> str:
    """Run lines of shell in place of the daemon, under the very same unit, and return what they print."""
    machine("cat > /opt/probe.sh", stdin=script)
    said = "StandardOutput=file:/run/probe.out\\nStandardError=file:/run/probe.out"
    changed = f"s#^Type=.*#Type=oneshot\\n{said}#; s#^ExecStart=.*#ExecStart=/bin/sh /opt/probe.sh#"
    unit = "/etc/systemd/system/openaq-pipeline.service"
    machine(f"sed '{changed}; /^Restart/d; /^WatchdogSec/d' {unit} > /run/systemd/system/probe.service")
    machine("systemctl daemon-reload; rm -f /run/probe.out; systemctl start probe || true")
    return machine("cat /run/probe.out")


def test_the_unit_has_no_mistake_and_leaves_little_open(machine: Machine) -> None:
    checked = machine.tried("systemd-analyze verify /etc/systemd/system/openaq-pipeline.service")
    assert (checked.code, checked.said) == (0, "")
    # Of 100; what is left is that it talks to the internet, and to this machine by sockets.
    judged = machine.tried("systemd-analyze security --no-pager --threshold=15 openaq-pipeline")
    assert judged.code == 0, judged.out[-200:]


def test_it_runs_as_its_own_user_and_the_data_are_where_the_manual_says(machine: Machine) -> None:
    for location_id in IDS:
        assert len(rows(machine, location_id)) > 100
    assert machine("systemctl is-enabled openaq-pipeline") == "enabled"
    assert machine(f"stat --format '%U %a' {DATA} {DATA}/location_3459.json").split() == [
        "openaq",
        "750",
        "openaq",
        "640",
    ]
    assert machine("stat --format '%U %a' /etc/openaq-pipeline/openaq-api-key") == "root 600"
    owners = machine("ps -o user= -p $(systemctl show --value --property MainPID openaq-pipeline)")
    assert owners == "openaq"


@changes_it
def test_it_tells_systemd_that_it_is_ready_and_then_that_it_is_alive(machine: Machine) -> None:
    assert machine.shows("Type") == "notify"
    assert machine.shows("ActiveState") == "active", "which a unit of this type is when it has said that it is ready"
    make_impatient(machine)
    first = machine.shows("WatchdogTimestampMonotonic")
    until(lambda: machine.shows("WatchdogTimestampMonotonic") > first, "it says that it is alive")


def test_the_page_answers_on_this_machine(machine: Machine) -> None:
    until(lambda: machine.tried("curl --silent --fail http://127.0.0.1:8765/readyz").code == 0, "the page is ready")
    assert "OpenAQ" in machine("curl --silent --fail http://127.0.0.1:8765/")


def test_the_manuals_ways_to_look_work_beside_it(machine: Machine) -> None:
    shown = machine(LOOK)
    assert "Active: active (running)" in shown
    assert "The next run is due at" in shown
    assert "OK: All 2 locations current" in shown


def test_a_second_one_is_refused(machine: Machine) -> None:
    done = machine.tried("openaq-pipeline run")
    assert done.code == 3
    assert "Another process is working on" in done.err


def test_one_ledger_counts_the_requests_of_the_service_and_of_commands_by_hand(machine: Machine) -> None:
    machine("openaq-pipeline backfill --date-from 2026-01-01 --date-to 2026-01-02")
    assert machine("find / -xdev -name 'budget-*.sqlite'").splitlines() == [
        machine("ls /var/lib/openaq-pipeline/.local/state/openaq-pipeline/budget-*.sqlite")
    ]
    assert machine(f"find {DATA} ! -user openaq") == ""


@changes_it
def test_a_reload_reads_the_settings_again_in_the_same_process(machine: Machine) -> None:
    before = machine.shows("MainPID")
    said = machine.journal().count("The settings were read again")
    configure(machine, (3459,))
    machine("systemctl reload openaq-pipeline")
    machine.says("The settings were read again", times=said + 1)
    assert machine.shows("MainPID") == before


@changes_it
def test_a_stop_ends_it_in_order(machine: Machine) -> None:
    machine("systemctl stop openaq-pipeline")
    assert (machine.shows("Result"), machine.shows("ExecMainStatus")) == ("success", "0")


@changes_it
def test_killed_it_is_started_again_and_nothing_is_lost(machine: Machine) -> None:
    configure(machine, IDS, schedule={"interval_hours": 0.001})  # a run after the other
    make_impatient(machine)
    before, kept = machine.shows("MainPID"), rows(machine, 3459)
    machine(f"kill -9 {before}")
    until(lambda: restarted(machine, before), "it is started again")
    assert machine.shows("NRestarts") == "1"
    done = machine.journal().count("The next run is due at")
    machine.says("The next run is due at", times=done + 2)
    machine("systemctl stop openaq-pipeline; openaq-pipeline verify")
    assert {named(row) for row in kept} <= {named(row) for row in rows(machine, 3459)}


@changes_it
def test_a_daemon_that_stands_still_is_ended_by_the_watchdog_and_started_again(machine: Machine) -> None:
    make_impatient(machine)
    before = machine.shows("MainPID")
    machine(f"kill -STOP {before}")
    until(lambda: restarted(machine, before), "it is started again", machine.journal)
    assert "Watchdog timeout" in machine("journalctl --no-pager --output cat --unit openaq-pipeline")


@changes_it
def test_settings_that_are_wrong_are_told_and_not_tried_again(machine: Machine) -> None:
    make_impatient(machine)
    configure(machine, IDS, schedul={})
    assert machine.tried("systemctl restart openaq-pipeline").code != 0
    assert "did you mean `schedule`?" in machine.journal()
    assert (machine.shows("ActiveState"), machine.shows("ExecMainStatus")) == ("failed", "2")


@changes_it
def test_a_key_that_is_not_there_is_told(machine: Machine) -> None:
    machine("mv /etc/openaq-pipeline/openaq-api-key /root/")
    try:
        assert machine.tried("systemctl restart openaq-pipeline").code != 0
        assert "credentials" in machine("journalctl --no-pager --lines 20 --unit openaq-pipeline")
        said = machine.tried("openaq-pipeline run")
        assert (said.code, "OPENAQ_API_KEY is not set" in said.err) == (2, True)
    finally:
        machine("mv /root/openaq-api-key /etc/openaq-pipeline/")


def test_it_can_write_nowhere_else_and_read_nobodys_files(machine: Machine) -> None:
    machine("mkdir -p /home/alice && echo private > /home/alice/diary && chmod -R a+rX /home/alice")
    said = in_the_sandbox(
        machine,
        """
        for folder in / /etc /etc/openaq-pipeline /opt /opt/openaq-pipeline /usr/bin /var/lib /home /root /run; do
            touch "$folder/mark" 2>/dev/null && echo "wrote $folder"
        done
        touch /var/lib/openaq-pipeline/mark && rm /var/lib/openaq-pipeline/mark && echo "wrote its own"
        cat /home/alice/diary /etc/shadow /root/.bashrc /etc/openaq-pipeline/openaq-api-key 2>/dev/null
        ls /proc | grep -c '^1$'
        grep -E 'NoNewPrivs|CapBnd|Seccomp:' /proc/self/status
        unshare --user true 2>/dev/null && echo "made a namespace"
        mount -t tmpfs none /tmp 2>/dev/null && echo mounted
        cat "$OPENAQ_API_KEY_FILE"
        """,
    )
    expected = ["wrote its own", "0", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "the-key"]
    assert said.splitlines() == expected


@pytest.mark.parametrize(
    "command",
    [
        "query 'SELECT count(*) FROM measurements'",
        "export --format xlsx --output /var/lib/openaq-pipeline/all.xlsx",
        "export --format parquet --output /var/lib/openaq-pipeline/all.parquet",
        "backfill --date-from 2026-02-01 --date-to 2026-02-03",
        "verify",
        "validate",
        "deliver",
    ],
)
def test_the_program_lacks_nothing_in_its_sandbox(command: str, machine: Machine) -> None:
    said = in_the_sandbox(machine, f"/opt/openaq-pipeline/bin/openaq-pipeline {command}; echo exit $?")
    assert said.endswith("exit 0"), said


def test_installed_again_it_goes_on_with_settings_key_and_data(machine: Machine) -> None:
    kept = rows(machine, 3459)
    machine(INSTALL)
    machine("systemctl restart openaq-pipeline")
    assert "the-key" in machine("cat /etc/openaq-pipeline/openaq-api-key")
    assert re.search(r"3459", machine("cat /etc/openaq-pipeline/config.yaml"))
    assert len(rows(machine, 3459)) >= len(kept)
