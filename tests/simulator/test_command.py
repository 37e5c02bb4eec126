from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys

import pytest
import requests

from openaq_pipeline.errors import ConfigError
from openaq_pipeline.simulator import arguments

START = """
import argparse
from openaq_pipeline.simulator import arguments
parser = argparse.ArgumentParser()
arguments.add_arguments(parser)
raise SystemExit(arguments.main(parser.parse_args()))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_its_address_serves_and_ends_with_0_on_a_signal(number: signal.Signals) -> None:
    command = [sys.executable, "-c", START, "--world", "demo", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        base_url = process.stdout.readline().strip()
        answer = requests.get(f"{base_url}/locations", headers={"X-API-Key": "k"}, timeout=10)
        process.send_signal(number)
        assert process.wait(10) == 0
    assert base_url.endswith("/v3")
    assert len(answer.json()["results"]) == 10


def test_a_taken_port_is_told_in_a_sentence() -> None:
    parser = argparse.ArgumentParser()
    arguments.add_arguments(parser)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        with pytest.raises(ConfigError, match="can't listen"):
            arguments.main(parser.parse_args(["--port", port]))


@pytest.mark.parametrize("wrong", [["--requests-per-minute", "-1"], ["--start", "noon"], ["--world", "mars"]])
def test_wrong_arguments_are_refused_with_a_sentence(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    arguments.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(wrong)
    assert wrong[1] in capsys.readouterr().err


def test_the_replay_world_asks_for_its_folder() -> None:
    parser = argparse.ArgumentParser()
    arguments.add_arguments(parser)
    with pytest.raises(ConfigError, match="recorded pages"):
        arguments.main(parser.parse_args(["--world", "replay", "--port", "0"]))


def test_reading_the_arguments_loads_no_web_framework() -> None:
    check = "import sys, openaq_pipeline.simulator.arguments; sys.exit('fastapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
