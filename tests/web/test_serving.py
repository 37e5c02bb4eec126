from __future__ import annotations

import json
import signal
import socket
from contextlib import closing
from pathlib import Path

import requests

from tests.conftest import Program


def test_the_page_is_served_from_the_files_until_a_signal_comes(program: Program) -> None:
    program.configure("http://127.0.0.1:9/v3", [1])
    program.data.mkdir()
    with program.start("monitor.py", "--serve") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = line.split()[-1]
        assert "1 of 1 location never read" in requests.get(address, timeout=10).text
        # Arrow is loaded where rows of years are read: it is more than the rest of the page together.
        assert "libarrow" not in Path(f"/proc/{process.pid}/maps").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_port_that_is_taken_is_bad_usage_and_a_sentence(program: Program) -> None:
    program.configure("http://127.0.0.1:9/v3", [1])
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        settings = json.loads(program.config.read_text()) | {"web": {"port": port}}
        program.config.write_text(json.dumps(settings))
        done = program.run("monitor.py", "--serve")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"Error: The status page can't listen on 127.0.0.1:{port}: Address already in use.\n"
        "End what listens there, or choose another web.port.\n"
    )


def test_a_schedule_that_never_comes_is_bad_configuration_and_no_broken_page(program: Program) -> None:
    program.configure("http://127.0.0.1:9/v3", [1])
    settings = json.loads(program.config.read_text()) | {"schedule": {"mode": "cron", "cron": "0 0 31 2 *"}}
    program.config.write_text(json.dumps(settings))
    assert program.run("monitor.py", "--serve").code == 2


def test_without_a_data_folder_the_page_says_so(program: Program) -> None:
    program.configure("http://127.0.0.1:9/v3", [1])
    with program.start("monitor.py", "--serve") as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        assert "There is no data folder yet" in requests.get(address, timeout=10).text
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not program.data.exists()
