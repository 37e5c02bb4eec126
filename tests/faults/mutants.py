"""Breakages made by hand: the program is broken in a copy of the tree, and a named test must notice.

    python -m tests.faults.mutants [NAME ...]        (make mutants)

A suite of faults that never fails proves nothing. Each of these is a mistake that somebody could make, and many were
made elsewhere; the table says which test finds it, and how long that takes. Exit code 1: one was not found, or a test
fails without any.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "dataset/openaq_pipeline"
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "demo-data", "build", "dist", "*.egg-info")
FOUND, SOUND = 1, 0
WORKERS = 2

CUTS = "tests/faults/test_write_orders.py::test_every_order_of_writes_that_a_disk_may_choose_is_recovered_from"
CALLS = "tests/faults/test_syscalls.py::test_no_fault_at_any_call_loses_or_doubles_anything"
ORACLE = "tests/faults/test_oracle.py::test_rounds_hold_what_the_source_shows_on_both_sides_of_the_move"
DAMAGE = "tests/faults/test_damage.py"
STARVED = "test_a_daemon_whose_runs_are_killed_for_want_of_memory_goes_on_by_itself_when_there_is_more"


class Mutant(NamedTuple):
    """A mistake: in `file` the text `old`, which stands there once, becomes `new`; `test` must fail of it.

    `long`: the test only looks at a random part of its cases unless it is told to look at all.
    """

    name: str
    file: str
    old: str
    new: str
    test: str
    long: bool = False


MUTANTS = (
    Mutant(
        "the folder is not synced after a rename",
        "files.py",
        "        temporary.replace(target)\n        sync_folder(target.parent)\n",
        "        temporary.replace(target)\n",
        f"{CUTS}[selections]",
        long=True,
    ),
    Mutant(
        "a file is not synced before its rename",
        "files.py",
        "            file.flush()\n            os.fsync(file.fileno())\n        temporary.replace(target)\n",
        "            file.flush()\n        temporary.replace(target)\n",
        f"{CUTS}[metrics]",
        long=True,
    ),
    Mutant(
        "files are written in place",
        "files.py",
        "    temporary = temporary_of(target)\n    try:\n",
        "    temporary = target\n    try:\n",
        f"{CALLS}[progress of a backfill]",
        long=True,
    ),
    Mutant(
        "a disk that refuses is taken for done",
        "files.py",
        "            temporary.unlink(missing_ok=True)\n        raise storage_error(error, target) from error\n",
        "            temporary.unlink(missing_ok=True)\n",
        f"{CALLS}[selections]",
        long=True,
    ),
    Mutant(
        "a failed write leaves its temporary file",
        "files.py",
        "    except OSError as error:\n        with suppress(OSError):\n            temporary.unlink(missing_ok=True)\n"
        "        raise storage_error(error, target) from error\n",
        "    except OSError as error:\n        raise storage_error(error, target) from error\n",
        "tests/test_files.py::test_a_disk_that_refuses_any_step_is_told_and_leaves_no_temporary",
    ),
    Mutant(
        "a new folder is not made durable",
        "files.py",
        "    try:\n        sync_folder(folder.parent)\n    except OSError as error:\n        if made",
        "    try:\n        pass\n    except OSError as error:\n        if made",
        f"{CUTS}[move to the history]",
        long=True,
    ),
    Mutant(
        "what a killed start left stays",
        "locks.py",
        "    probe = folder / PROBE\n",
        '    probe = folder / f".probe-{os.getpid()}"\n',
        "tests/test_files.py::test_what_a_start_left_that_was_killed_goes_with_the_next",
    ),
    Mutant(
        "the state is written before the data",
        "ingest.py",
        ' let the watermarks stand on it."""\n        parts = self._parts\n',
        ' let the watermarks stand on it."""\n        parts = self._parts\n'
        "        for sensors_id, reached in self._reached.items():\n"
        "            self._sensors[sensors_id] = watermark.advance(self._known(sensors_id), reached, self._order.now)\n"
        "        self._remember()\n",
        f"{CUTS}[poll]",
        long=True,
    ),
    Mutant(
        "rows are not sorted",
        "incremental/merge.py",
        "Merged(sorted(rows.values(), key=file_order), ",
        "Merged(list(rows.values()), ",
        ORACLE,
    ),
    Mutant(
        "a row that is read again comes twice",
        "incremental/merge.py",
        "    return Merged(sorted(rows.values(), key=file_order), ",
        "    return Merged(sorted([*before.values(), *fresh.values()], key=file_order), ",
        ORACLE,
    ),
    Mutant(
        "a watermark passes a page that failed",
        "openaq/series.py",
        "yield step if first_hole is None else Step(step.page, first_hole[0].start)",
        "yield step",
        "tests/openaq/test_series.py::test_around_poison_rows_everything_else_is_read_and_nothing_claimed",
        long=True,
    ),
    Mutant(
        "a move to the history is sealed before it is written",
        "commit/seal.py",
        "    end = to if sealed_to is None else max(to, sealed_to)\n    for rows in _months(\n"
        "        location_id, oldest if sealed_to is None or oldest is None else max(oldest, sealed_to), end, files\n"
        "    ):\n"
        "        _archive(location_id, rows, files, licenses)\n"
        "    return Change(before, files.seal(location_id, end), NEVER)\n",
        "    end = to if sealed_to is None else max(to, sealed_to)\n    months = list(_months(\n"
        "        location_id, oldest if sealed_to is None or oldest is None else max(oldest, sealed_to), end, files\n"
        "    ))\n"
        "    mark = files.seal(location_id, end)\n"
        "    for rows in months:\n"
        "        _archive(location_id, rows, files, licenses)\n"
        "    return Change(before, mark, NEVER)\n",
        f"{CUTS}[move to the history]",
        long=True,
    ),
    Mutant(
        "watermarks stay on a file that has lost rows",
        "storage/locations.py",
        "        latest = {} if lost else {row.sensors_id: row.datetime for row in rows}\n",
        "        latest = {row.sensors_id: row.datetime for row in rows}\n",
        f"{DAMAGE}::test_a_damaged_location_file_is_named_set_aside_and_whole_again_after_one_poll",
    ),
    Mutant(
        "after a loss only the last days are read again",
        "ingest.py",
        "            if stored.lost:\n",
        "            if False:\n",
        f"{DAMAGE}::test_a_damaged_location_file_is_named_set_aside_and_whole_again_after_one_poll",
    ),
    Mutant(
        "a damaged state is overwritten and not set aside",
        "storage/state.py",
        "        place = set_aside(self._path, now)\n",
        "        place = self._path\n",
        f"{DAMAGE}::test_a_damaged_state_is_set_aside_and_rebuilt_from_the_data",
    ),
    Mutant(
        "a lost state begins from now",
        "incremental/watermark.py",
        "        known = {key: rebuilt(stamp, now) for key, stamp in latest.items()}\n",
        "        known = {key: rebuilt(now, now) for key in latest}\n",
        f"{DAMAGE}::test_a_deleted_state_is_rebuilt_from_the_data",
    ),
    Mutant(
        "a book of alerts that can't be read is overwritten",
        "monitoring/alert_file.py",
        "error.advice)\n            return None\n",
        "error.advice)\n            return Book(uuid4())\n",
        f"{CALLS}[alerts]",
        long=True,
    ),
    Mutant(
        "a request ledger that can't be read for a moment is taken for damaged",
        "openaq/budget.py",
        "            _read_through(part)\n    try:\n        return _connect(path)\n",
        "            pass\n    try:\n        raise sqlite3.DatabaseError\n",
        f"{CALLS}[budget]",
        long=True,
    ),
    Mutant(
        "a repair notes what is to be fetched only after it has replaced the file",
        "repair/local.py",
        "        if lost:\n            self._owe(location_id, self._year_span(location_id, year))\n"
        "        if found.told is not None and not found.whole:\n"
        "            self.told[location_id, year] = found.told\n"
        "        place = files.keep_elsewhere(path, self._aside(location_id, year), self._clock())\n"
        "        licenses = self._licenses(location_id, found)\n"
        "        moved = self._put(location_id, year, rows, licenses, path)\n",
        "        if found.told is not None and not found.whole:\n"
        "            self.told[location_id, year] = found.told\n"
        "        place = files.keep_elsewhere(path, self._aside(location_id, year), self._clock())\n"
        "        licenses = self._licenses(location_id, found)\n"
        "        moved = self._put(location_id, year, rows, licenses, path)\n"
        "        if lost:\n            self._owe(location_id, self._year_span(location_id, year))\n",
        f"{CALLS}[mending history and rejects]",
        long=True,
    ),
    Mutant(
        "two processes may work on one folder",
        "locks.py",
        "            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # once more changes nothing for an heir\n",
        "            pass\n",
        "tests/test_files.py::test_a_second_process_is_told_at_once_and_a_killed_holder_leaves_no_lock",
    ),
    Mutant(
        "a refusal holds back nobody else",
        "openaq/budget.py",
        "            if exhausted:\n                database.execute(",
        "            if False:\n                database.execute(",
        "tests/openaq/test_budget.py::test_a_429_to_one_process_holds_back_the_others",
    ),
    Mutant(
        "a row stamped in the future moves the watermark there",
        "incremental/watermark.py",
        "watermark=min(max(known), now) if known else None)",
        "watermark=max(known) if known else None)",
        "tests/incremental/test_watermark.py::"
        "test_it_is_never_past_now_never_past_what_was_reached_and_never_moves_back",
        long=True,
    ),
    Mutant(
        "a full disk is told to nobody",
        "watch.py",
        "StorageError(report.unsaved, hint=DISK_HINT) if report.unsaved else None",
        "None",
        "tests/faults/test_full_disk.py::test_a_daemon_whose_ledger_is_elsewhere_tells_of_it_and_goes_on_too",
        long=True,
    ),
    Mutant(
        "the kernel may end the daemon in the place of its run",
        "daemon/child.py",
        "        _give_way(self._process.pid, PAGE_SCORE if command[0] == PAGE else SCORE)\n",
        "",
        f"tests/faults/test_memory.py::{STARVED}",
        long=True,
    ),
    Mutant(
        "a run goes on when its daemon is gone",
        "cli/run_command.py",
        '    pulse.when_orphaned(lambda: end("The scheduler is gone"))\n',
        "",
        "tests/daemon/test_scheduler.py::test_a_run_whose_daemon_was_killed_ends_too_whatever_it_waits_for",
    ),
    Mutant(
        "a run that was asked to end is waited for as long as it likes",
        "cli/run_command.py",
        "    if not over.wait(GRACE_SECONDS):\n",
        "    if not over.wait():\n",
        "tests/doors/test_incremental_loader.py"
        "::test_a_signal_ends_a_run_within_ten_seconds_though_an_answer_does_not_come",
    ),
    Mutant(
        "an error keeps the secrets it is made of",
        "errors.py",
        "super().__init__(clean(message))",
        "super().__init__(message)",
        "tests/faults/test_secrets.py::test_a_server_that_repeats_the_key_in_its_refusals_finds_no_ear",
    ),
    Mutant(
        "a notice goes to its channel as it is",
        "monitoring/delivery.py",
        ".send(cleaned(notice), ",
        ".send(notice, ",
        "tests/alerts/test_delivery.py::test_no_channel_is_told_a_secret_whatever_a_condition_was_made_of",
    ),
    Mutant(
        "quiet hours hold nothing back",
        "monitoring/telling.py",
        "        until += [self._quiet_until] if self._quiet_until else []\n",
        "",
        "tests/alerts/test_telling.py::test_in_quiet_hours_only_what_is_critical_is_told",
    ),
    Mutant(
        "what waited in the outbox is sent at night",
        "monitoring/delivery.py",
        "quiet=self._policy.quiet_until(now) is not None",
        "quiet=False",
        "tests/alerts/test_delivery.py::test_what_could_not_be_sent_in_the_evening_is_not_tried_at_night",
    ),
    Mutant(
        "the end of what was told to nobody is told",
        "monitoring/alerts.py",
        "        if closed.told is not None and not assessment.drops(key):\n",
        "        if True:\n            closed = replace(closed, told=closed.told or closed.condition.severity)\n",
        "tests/alerts/test_book_properties.py"
        "::test_each_beginning_is_told_once_and_each_that_was_told_has_its_end_told",
        long=True,
    ),
    Mutant(
        "a location that was not asked has recovered",
        "monitoring/conditions.py",
        "        if self.only_some and self._is_beyond(key):\n",
        "        if False:\n",
        "tests/doors/test_chosen_locations.py::test_a_silent_location_that_was_not_asked_is_as_silent_as_before",
    ),
    Mutant(
        "a digest is told with every look",
        "monitoring/weekly.py",
        "return None if week in told else week",
        "return week",
        "tests/alerts/test_digest.py::test_whatever_the_clock_does_no_week_is_told_twice",
    ),
    Mutant(
        "Apprise logs what it likes",
        "monitoring/channels/apprise.py",
        ".disabled = True",
        ".disabled = False",
        "tests/alerts/test_apprise.py::test_apprise_is_not_heard_whatever_the_level",
    ),
    Mutant(
        "the heartbeat beats after each good run",
        "daemon/service.py",
        "            if self._pulse.heard_that_all_is_current():\n",
        "            if True:\n",
        "tests/daemon/test_heartbeat.py::test_a_good_run_with_a_silent_station_does_not_beat",
    ),
    Mutant(
        "the webhook's name is looked up again when it is dialled",
        "monitoring/channels/webhook.py",
        "self.sock = _dial(self._found, ",
        "self.sock = _dial([self.host], ",
        "tests/alerts/test_webhook.py::test_the_next_address_is_tried_when_one_refuses",
    ),
    Mutant(
        "an alert to Slack is not escaped",
        "monitoring/channels/slack.py",
        'return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")',
        "return str(text)",
        "tests/faults/test_hostile_names.py::test_a_hostile_name_in_an_alert_is_no_markup_and_no_header",
    ),
    Mutant(
        "formulas go into CSV",
        "reading/flat.py",
        'pc.if_else(pc.match_substring_regex(column, FORMULA), pc.binary_join_element_wise("\'", column, ""), column)',
        "column",
        "tests/faults/test_hostile_names.py"
        "::test_a_hostile_name_is_stored_exactly_and_stays_a_text_wherever_it_is_shown",
    ),
    Mutant(
        "new files are for everybody to read",
        "files.py",
        "0o640, 0o750",
        "0o644, 0o755",
        "tests/doors/test_permissions.py::test_nothing_in_the_data_folder_or_the_ledger_s_is_open_to_others",
    ),
    Mutant(
        "a pipe is opened like a file",
        "bounded.py",
        "    if not stat.S_ISREG(mode):\n",
        "    if mode == 0:\n",
        "tests/storage/test_limits.py::test_what_is_no_file_says_so",
    ),
    Mutant(
        "a list of latest rows is believed, however long it says it is",
        "openaq/lists.py",
        "if first.found > MOST_PAGES * PAGE_LIMIT:",
        "if first.found > 1_000_000:",
        "tests/openaq/test_limits.py::test_a_list_of_latest_rows_that_boasts_is_not_asked_page_by_page",
    ),
    Mutant(
        "an id may have any width",
        "openaq/parse.py",
        "ParameterId = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]",
        "ParameterId = int",
        "tests/openaq/test_limits.py::test_whatever_is_taken_for_a_row_fits_into_the_history",
        long=True,
    ),
    Mutant(
        "a run of the daemon is given every secret",
        "daemon/child.py",
        "not in NO_USE_FOR.get(command, set())",
        "is not None",
        "tests/daemon/test_secrets.py::test_a_child_is_given_the_secrets_that_it_needs_and_no_other",
    ),
)


class Verdict(NamedTuple):
    """What a test said of a mutant: its exit code, how long it took, and the end of what it printed."""

    mutant: Mutant
    code: int
    seconds: float
    said: str


def copied(place: Path) -> Path:
    """Return a copy of the tree in an empty place."""
    return Path(shutil.copytree(ROOT, place / "tree", ignore=LEFT_OUT))


def broken(tree: Path, mutant: Mutant) -> None:
    """Make the mistake in a tree."""
    path = tree / PACKAGE / mutant.file
    text = path.read_text()
    assert text.count(mutant.old) == 1, f"{mutant.name}: its text does not stand once in {mutant.file}"
    path.write_text(text.replace(mutant.old, mutant.new))


def tested(tree: Path, tests: Iterable[str], *, long: bool) -> tuple[int, str]:
    """Return pytest's exit code and what it printed: 0 all passed, 1 something failed, others: it could not be run."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *["--long"] * long, *tests]
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)
    _end_all_of(tree)
    return done.returncode, done.stdout + done.stderr


def _end_all_of(tree: Path) -> None:
    """End the processes of a tree that are still there: the mistake may be that they never end."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended by itself, or is somebody else's
            if f"PYTHONPATH={tree / 'dataset'}".encode() in (process / "environ").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)


def judged(mutant: Mutant) -> Verdict:
    """Return what its test says of a mutant."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as place:
        tree = copied(Path(place))
        broken(tree, mutant)
        began = time.monotonic()
        code, said = tested(tree, [mutant.test], long=mutant.long)
        return Verdict(mutant, code, time.monotonic() - began, said)


def sound() -> Verdict:
    """Return what all the tests say of the program as it is."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as place:
        began = time.monotonic()
        code, said = tested(copied(Path(place)), sorted({mutant.test for mutant in MUTANTS}), long=False)
        return Verdict(
            Mutant("none: the program as it is", "", "", "", "all of them"), code, time.monotonic() - began, said
        )


def told(verdict: Verdict, *, wanted: int) -> str:
    """Return a line of the table."""
    found = {FOUND: "fails", SOUND: "passes"}.get(verdict.code, f"could not be run ({verdict.code})")
    right = "" if verdict.code == wanted else " **which is wrong**"
    test = verdict.mutant.test.removeprefix("tests/")
    return f"| {verdict.mutant.name} | `{test}` | {found}{right} | {verdict.seconds:.0f} s |"


def main(names: list[str]) -> int:
    """Print the table; return 1 if it is not as it should be."""
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    wrong = 0
    for line, bad, said in _lines(chosen, control=not names):
        wrong += bad
        sys.stdout.write(f"{line}\n{said if bad else ''}")
        sys.stdout.flush()
    return 1 if wrong else 0


def _lines(chosen: list[Mutant], *, control: bool) -> Iterator[tuple[str, bool, str]]:
    yield "| mistake | test | it | in |", False, ""
    yield "| --- | --- | --- | --- |", False, ""
    if control:
        verdict = sound()
        yield told(verdict, wanted=SOUND), verdict.code != SOUND, verdict.said
    with ThreadPoolExecutor(WORKERS) as pool:
        for verdict in pool.map(judged, chosen):
            yield told(verdict, wanted=FOUND), verdict.code != FOUND, verdict.said


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
