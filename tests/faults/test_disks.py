"""The disks of the fault tests themselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.faults import disks


def test_a_disk_comes_back_alive_though_a_container_that_starts_has_a_copy_of_its_mount(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("NOT tested: there is no unshare")
    with disks.ext4(tmp_path) as disk:
        (disk.folder / "file").write_text("written")
        subprocess.run(["sync", str(disk.folder / "file")], check=True)
        with subprocess.Popen(["unshare", "--mount", "sh", "-c", "echo; sleep 0.5"], stdout=subprocess.PIPE) as other:
            assert other.stdout
            other.stdout.readline()
            disk.cut()
            disk.restart()
        (disk.folder / "file").write_text("written again")
