"""No secret leaves the program: canaries wherever a secret can stand, and all that is written searched for them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from openaq_pipeline.simulator.server import Running
from openaq_pipeline.simulator.worlds import named
from tests.conftest import Program, Simulate

CANARIES = {
    "OPENAQ_API_KEY": "canary-key-77+/=",
    "SLACK_WEBHOOK_URL": "http://127.0.0.1:9/services/canary-slack-88",
    "WEBHOOK_URL": "http://127.0.0.1:9/hook/canary-hook-99?token=canary-token-11",
    "WEBHOOK_SECRET": "canary-signature-22",
    "SMTP_HOST": "127.0.0.1",
    "SMTP_PORT": "9",
    "SMTP_USERNAME": "somebody",
    "SMTP_PASSWORD": "canary-password-33",
    "HEARTBEAT_URL": "http://127.0.0.1:9/ping/canary-heart-44",
}
WORDS = ["canary", *(quote(word, safe="") for word in ("canary-key-77+/=",))]
ENCODED = [base64.b64encode(b"canary-password-33").decode(), base64.b64encode(b"canary-key-77+/=").decode()]


@pytest.fixture
def alarmed(program: Program, simulate: Simulate) -> tuple[Program, Running]:
    simulator = simulate(named.quirks())
    program.configure(simulator.base_url, [101, 109, 113], initial_days=2)
    settings = json.loads(program.config.read_text())
    settings["notifications"] = {
        "enabled": True,
        "slack": {"enabled": True},
        "email": {"enabled": True, "from": "a@b.example", "to": ["c@d.example"], "security": "none"},
        "webhook": {"enabled": True, "allow_private": True},
    }
    program.config.write_text(json.dumps(settings))
    program.env |= CANARIES
    return program, simulator


def everything_written(folder: Path) -> str:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".sqlite")
    return "\n".join(path.read_bytes().decode(errors="replace") for path in files)


def test_no_secret_is_in_any_output_or_file(alarmed: tuple[Program, Running]) -> None:
    program, simulator = alarmed
    said: list[str] = []
    for kind in ("status", "reset", "html200", "bad_json"):
        simulator.faults.inject(kind, "/sensors/1011/", count=1, status=503)
    for script, *arguments in (
        ("test_pipeline.py", "--debug"),
        ("incremental_loader.py", "--debug"),
        ("incremental_loader.py", "--debug", "--json", "--base-url", "http://127.0.0.1:9/v3"),
        ("incremental_loader.py", "--debug", "--date-to", "2025-01-01"),
        ("monitor.py", "--debug", "--json"),
        ("monitor.py", "--debug", "--test-alert"),
        ("scheduler.py", "--debug", "--mode", "once"),
        ("scheduler.py", "--debug", "--interval", "0"),
    ):
        done = program.run(script, *arguments)
        said += [done.out, done.err]
    simulator.faults.inject("status", "", status=401, body='{"detail": "canary-key-77+/= is refused"}')
    refused = program.run("incremental_loader.py", "--debug")
    assert refused.code == 1
    text = "\n".join([*said, refused.out, refused.err, everything_written(program.data)])
    assert "Traceback" in text, "the search must have seen a traceback too"
    for word in (*WORDS, *ENCODED):
        assert word not in text
