"""The log as a program of its own writes it: readable, whole, and without a secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import ROOT

SECRETS = {
    "OPENAQ_API_KEY": "canary-key-7f3a",
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0CANARY1/B0CANARY2/canarySlackTokenXYZ123",
    "WEBHOOK_URL": "https://receiver.example/in/canary-hook-path?auth=canaryQuery99",
    "WEBHOOK_SECRET": "canary/secret+with=signs",
    "SMTP_PASSWORD": 'canary "pass" wörd',
    "HEARTBEAT_URL": "https://hc.example/canary-5b1c-heartbeat",
    "HTTPS_PROXY": "http://me:canary-proxy-pw@proxy.example:3128",
}


class Ran(NamedTuple):
    code: int
    err: str
    lines: list[dict[str, Any]]
    text: str


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a few lines of Python with the log set up as settings from the environment say."""

    def start(body: str, *, prepare: str = "", **env: str) -> Ran:
        program = f"""
import logging, os, sys, threading
from pathlib import Path
from openaq_pipeline.config import load
from openaq_pipeline import redact
from openaq_pipeline.monitoring import log as pipeline_log
settings = load()
{prepare}
pipeline_log.set_up(settings, to_file=True)
log = logging.getLogger("openaq_pipeline.run")
{body}
"""
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT / "dataset"),
                "PIPELINE_CONFIG": os.devnull,
                "DATA_DIR": str(tmp_path / "data"),
                **env,
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        file = tmp_path / "data" / "pipeline.log"
        text = file.read_text() if file.is_file() else ""
        return Ran(done.returncode, done.stderr, [json.loads(line) for line in text.splitlines()], text)

    return start


def test_a_record_is_one_json_object_with_time_in_utc_level_logger_and_message(run: Run) -> None:
    done = run('log.warning("Location %s is silent", 3459)')
    (line,) = done.lines
    assert (line["level"], line["logger"]) == ("WARNING", "openaq_pipeline.run")
    assert line["message"] == "Location 3459 is silent"
    written = datetime.fromisoformat(line["time"])
    assert line["time"].endswith("Z")
    assert abs(datetime.now(UTC) - written) < timedelta(minutes=1)
    assert "exception" not in line
    assert done.err == "WARNING Location 3459 is silent\n"


def test_an_exception_is_kept_with_its_traceback_in_the_file_and_set_in_on_the_console(run: Run) -> None:
    done = run("try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('It broke')")
    assert done.lines[0]["exception"].splitlines()[0] == "Traceback (most recent call last):"
    assert done.lines[0]["exception"].splitlines()[-1] == "ZeroDivisionError: division by zero"
    head, *rest = done.err.splitlines()
    assert head == "ERROR It broke"
    assert rest
    assert all(line.startswith("    ") for line in rest)


def test_the_level_of_the_settings_holds(run: Run) -> None:
    body = 'log.debug("fine"); log.error("coarse")'
    assert [line["message"] for line in run(body, LOG_LEVEL="ERROR").lines] == ["coarse"]
    assert [line["message"] for line in run(body, LOG_LEVEL="DEBUG").lines][-2:] == ["fine", "coarse"]


@pytest.mark.parametrize("end", [r"\n", r"\r\n", r"\r", r"\x85", r"\u2028"])
def test_nothing_that_is_logged_can_forge_a_record(run: Run, end: str) -> None:
    forged = '{"level":"CRITICAL","message":"forged"}'
    done = run(f"log.info('name of a place%s', '{end}{forged}\\x1b[2J')")
    assert len(done.lines) == 1
    assert len(done.err.splitlines()) == 1
    assert "\x1b" not in done.err + done.text
    assert "\\u001b" not in done.text


def test_no_secret_is_written_in_any_form_wherever_it_comes_from(run: Run) -> None:
    body = """
import base64, warnings
from urllib.parse import quote
import requests
secrets = [value for name, value in os.environ.items() if "canary" in value.lower()]
for secret in secrets:
    log.debug("plain %s", secret)
    log.debug("quoted %r %s", secret, quote(secret, safe=""))
    log.debug("encoded %s", base64.b64encode(b"user:" + secret.encode()).decode())
    log.info("in a dict %s", {"a": secret})
    log.error("with wrong arguments " + secret, 1, 2)
    try:
        try:
            raise ValueError(secret)
        except ValueError as inner:
            raise RuntimeError(f"told {secret}") from inner
    except RuntimeError:
        log.exception("nested", stack_info=True)
    warnings.warn(secret)
os.environ.pop("HTTPS_PROXY")
for name in ("SLACK_WEBHOOK_URL", "WEBHOOK_URL", "HEARTBEAT_URL"):
    address = os.environ[name].replace("https", "http").replace("hooks.slack.com", "127.0.0.1:9")
    address = address.replace("receiver.example", "127.0.0.1:9").replace("hc.example", "127.0.0.1:9")
    try:
        requests.get(address, timeout=5)
    except requests.RequestException:
        log.exception("unreachable")
logging.getLogger("urllib3").debug("GET %s", secrets[0])
thread = threading.Thread(target=lambda: 1 / len("") if not secrets else exec("raise OSError(secrets)"))
thread.start(); thread.join()
class Stubborn:
    def __del__(self):
        raise KeyError(secrets)
del_me = Stubborn()
del del_me
raise SystemError(secrets)
"""
    done = run(body, LOG_LEVEL="DEBUG", **SECRETS)
    assert done.code == 1
    messages = [line["message"] for line in done.lines]
    assert any(said.startswith("Uncaught SystemError") for said in messages), messages[-3:]
    assert any(said.startswith("Uncaught OSError in Thread") for said in messages), messages[-3:]
    assert any("KeyError" in line.get("exception", "") for line in done.lines), "what could be raised nowhere"
    assert sum("exception" in line for line in done.lines) >= len(SECRETS) + 5
    assert "Connection refused" in done.text
    everything = (done.err + done.text).lower()
    where = everything.find("canary")
    assert where < 0, everything[where - 200 : where + 60]
    assert "y2fuyxj5" not in everything, "canary in base64"
    assert "(secret)" in done.text


def test_what_is_printed_past_the_log_can_be_cleaned_too(run: Run) -> None:
    done = run('sys.stderr.write(redact.clean("told canary-key-7f3a\\x1b[2J to all"))', **SECRETS)
    assert done.err.endswith("told (secret) [2J to all")


def test_after_a_reload_neither_the_old_nor_the_new_key_is_written(run: Run) -> None:
    reload = 'os.environ["OPENAQ_API_KEY"] = "canary-new"; pipeline_log.set_up(load(), to_file=True); '
    done = run(reload + 'log.info("canary-old canary-new")', OPENAQ_API_KEY="canary-old")
    assert [line["message"] for line in done.lines] == ["(secret) (secret)"], "and the record is there once"


def test_a_log_file_that_cannot_be_written_is_one_warning_and_everything_goes_on(run: Run) -> None:
    prepare = '(settings.data_dir / "pipeline.log").mkdir(parents=True)'
    done = run('log.info("one"); log.info("two"); print("done")', prepare=prepare)
    assert done.code == 0
    warning, *rest = done.err.splitlines()
    assert warning.startswith("WARNING The log file ")
    assert "Is a directory" in warning
    assert rest == ["INFO one", "INFO two"]


def test_a_log_file_that_can_be_written_again_is_used_again(run: Run) -> None:
    prepare = 'blocked = settings.data_dir / "pipeline.log"; blocked.mkdir(parents=True)'
    body = 'log.info("one"); blocked.rmdir(); log.info("two"); blocked.unlink(); blocked.mkdir(); log.info("three")'
    done = run(body + '; blocked.rmdir(); log.info("four")', prepare=prepare)
    assert done.err.count("can't be written") == 2
    assert [line["message"] for line in done.lines] == ["four"]


def test_a_full_disk_tears_no_line(run: Run, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    small = tmp_path / "data"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    try:
        body = "for number in range(100): log.info('%d %s', number, 'x' * 3000)"
        done = run(body + "\nprint('done')", prepare="settings.data_dir.mkdir(exist_ok=True)")
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert done.code == 0
    assert 10 < len(done.lines) < 22, "what is there is whole: each line was read as JSON"
    assert done.err.count("can't be written: No space left on device") == 1


def test_a_missing_data_folder_is_made_for_the_log(run: Run, tmp_path: Path) -> None:
    assert not (tmp_path / "data").exists()
    assert len(run('log.info("first")').lines) == 1


def test_colours_are_for_terminals_only(run: Run) -> None:
    assert "\x1b" not in run('log.error("plain")').err
    terminal = "import pty; parent, child = pty.openpty(); stream = os.fdopen(child, 'w')"
    body = (
        "pipeline_log.set_up(settings, to_file=False, stream=stream); log.error('seen'); stream.flush();"
        "print(ascii(os.read(parent, 999)), file=sys.stderr)"
    )
    assert r"\x1b[31mERROR\x1b[0m seen" in run(body, prepare=terminal).err
    assert r"\x1b" not in run(body, prepare=terminal, NO_COLOR="1").err
