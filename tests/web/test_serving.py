from __future__ import annotations

import signal

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
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
