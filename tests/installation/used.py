"""An installed package as users start it: its own command, in a folder of theirs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.conftest import Finished


class Installed:
    """The command of an environment, called in a folder that is empty at first."""

    def __init__(self, scripts: Path, folder: Path) -> None:
        self.scripts, self.folder = scripts, folder
        folder.mkdir()
        self.env = {
            "PATH": f"{scripts}:{os.environ['PATH']}",
            "HOME": str(folder.parent),
            "XDG_STATE_HOME": str(folder.parent / "state"),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return self._start(str(self.scripts / "openaq-pipeline"), *arguments)

    def run(self, *arguments: str) -> Finished:
        return _finished(self.start(*arguments))

    def python(self, code: str) -> Finished:
        return _finished(self._start(str(self.scripts / "python"), "-c", code))

    def other(self, *command: str) -> Finished:
        """Run another program in its place."""
        return _finished(self._start(*command))

    def _start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            env=self.env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def _finished(process: subprocess.Popen[str]) -> Finished:
    with process:
        out, err = process.communicate(timeout=300)
    return Finished(process.returncode, out, err)
