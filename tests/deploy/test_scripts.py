"""The shell of deploy/, and the script that may format a disk, on disks that are files of the test's own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

SCRIPTS = sorted((ROOT / "deploy").rglob("*.sh"))
DATA_DISK = ROOT / "deploy/azure/data-disk.sh"
CLOUD_INIT = yaml.safe_load((ROOT / "deploy/azure/cloud-init.yaml").read_text())
WRITTEN = {file["path"]: file["content"] for file in CLOUD_INIT["write_files"]}
TOOLS = ("losetup", "mkfs.ext4", "mkfs.ext2", "mkswap", "blkid", "wipefs")

Disk = Callable[[], Path]


def check(*arguments: object, stdin: str | None = None) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("NOT tested: shellcheck is not installed")
    done = subprocess.run(
        ["shellcheck", "--shell", "sh", *map(str, arguments)], input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_shellcheck_has_nothing_against_a_script(script: Path) -> None:
    check(script)
    assert script.read_text().startswith("#!/bin/sh\n")


def test_nor_against_the_one_in_cloud_init() -> None:
    check("-", stdin=WRITTEN["/usr/local/sbin/openaq-pipeline-setup"])


def test_cloud_init_runs_nothing_but_that_script() -> None:
    assert CLOUD_INIT["runcmd"] == [["/usr/local/sbin/openaq-pipeline-setup"]]


def test_all_that_the_installers_install_is_there() -> None:
    named = {word for path in SCRIPTS for word in re.findall(r"deploy/[\w/.-]*\w", path.read_text())}
    named |= set(re.findall(r"deploy/[\w/.-]*\w", WRITTEN["/usr/local/sbin/openaq-pipeline-setup"]))
    assert len(named) > 5
    for name in named:
        assert (ROOT / name).exists(), name


# --- the data disk ---


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Make disks of 64 MB, all zeros, which are devices of this machine while the test lasts."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if os.geteuid() or missing:
        pytest.skip(f"NOT tested: it takes root and {', '.join(missing) or 'loop devices'}")
    made: list[Path] = []

    def make() -> Path:
        image = tmp_path / f"disk-{len(made)}"
        image.touch()
        os.truncate(image, 64 * 1024 * 1024)
        done = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"NOT tested: no loop device can be had here: {done.stderr.strip()}")
        made.append(Path(done.stdout.strip()))
        return made[-1]

    yield make
    subprocess.run(["umount", "--quiet", tmp_path / "data"], check=False, capture_output=True)
    for device in made:
        subprocess.run(["losetup", "--detach", device], check=True)


def mounted(tmp_path: Path, *devices: Path) -> subprocess.CompletedProcess[str]:
    """Run the script for these devices, with an fstab of the test's own."""
    fstab = tmp_path / "fstab"
    fstab.touch()
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "FSTAB": str(fstab), "SECONDS_TO_WAIT": "1"}
    command = ["sh", str(DATA_DISK), str(tmp_path / "data"), *map(str, devices)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def is_mounted(tmp_path: Path) -> bool:
    return (tmp_path / "data").is_mount()


def test_an_empty_disk_gets_a_file_system_and_is_mounted_and_the_second_time_nothing_happens(
    disk: Disk, tmp_path: Path
) -> None:
    device = disk()
    first = mounted(tmp_path, tmp_path / "nvme", device)
    assert (first.returncode, is_mounted(tmp_path)) == (0, True), first.stderr
    (tmp_path / "data/rows").write_text("measured")
    fstab = (tmp_path / "fstab").read_text()
    again = mounted(tmp_path, device)
    assert (again.returncode, again.stderr) == (0, "")
    assert (tmp_path / "data/rows").read_text() == "measured"
    assert (tmp_path / "fstab").read_text() == fstab
    assert "nofail" in fstab


def test_the_disk_of_an_older_machine_is_mounted_with_all_that_is_on_it(disk: Disk, tmp_path: Path) -> None:
    device = disk()
    assert mounted(tmp_path, device).returncode == 0
    (tmp_path / "data/rows").write_text("measured")
    subprocess.run(["umount", tmp_path / "data"], check=True)
    (tmp_path / "fstab").unlink()
    assert mounted(tmp_path, device).returncode == 0
    assert (tmp_path / "data/rows").read_text() == "measured"


@pytest.mark.parametrize(
    "fill",
    [
        "mkfs.ext2 -q {}",
        "mkswap {}",
        r"printf '\125\252' | dd status=none bs=1 seek=510 of={}",  # a table of partitions begins so
        "echo something | dd status=none seek=4000 of={}",
    ],
)
def test_a_disk_with_anything_else_on_it_is_left_as_it_is(fill: str, disk: Disk, tmp_path: Path) -> None:
    device = disk()
    subprocess.run(fill.format(device), shell=True, check=True, capture_output=True)  # noqa: S602 - the test's own words
    before = device.read_bytes()
    done = mounted(tmp_path, device)
    assert (done.returncode, is_mounted(tmp_path)) == (1, False)
    assert "it is left alone" in done.stderr
    assert device.read_bytes() == before


def test_a_disk_that_does_not_come_is_told(disk: Disk, tmp_path: Path) -> None:
    disk()
    done = mounted(tmp_path, tmp_path / "scsi", tmp_path / "nvme")
    assert done.returncode == 1
    assert "has not appeared" in done.stderr
