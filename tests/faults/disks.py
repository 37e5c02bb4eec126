"""Disks that fail on purpose: one that loses its power, one that gives out, one that is full.

Each is a small file system of its own, mounted for a `with` block and gone with it. Its device is a file in memory
where there is a tmpfs at /dev/shm, so that ten thousand power cuts wear out no disk and wait for none.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

GOING_DOWN = 0x8004587D
"""FS_IOC_SHUTDOWN of ext4, XFS and F2FS, which xfstests calls "godown"."""

WITHOUT_THE_LOG = (2).to_bytes(4, "little")
"""EXT4_GOING_FLAGS_NOLOGFLUSH: what is in memory is lost, the part of the journal that is not written yet included."""

MEGABYTE = 1_000_000
PAGE = 4096
MEMORY = Path("/dev/shm")  # noqa: S108 - the tmpfs itself, in which `tempfile` makes a folder
UNMOUNT_SECONDS = 5.0


def needs(*tools: str) -> None:
    """Skip a test where nobody may mount, or a tool is missing."""
    if os.geteuid() != 0:
        pytest.skip("NOT tested: to mount a disk takes root")
    if missing := [tool for tool in tools if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]:
        pytest.skip(f"NOT tested: {missing[0]} is not installed")


def run(*command: str, fine: Collection[int] = (0,)) -> str:
    """Run a command and return what it prints; `fine` are the exit codes that are no failure. Raises `OSError`."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in fine:
        raise OSError(f"{' '.join(command)}: {done.stdout.strip()} {done.stderr.strip()}")
    return done.stdout


class Ext4:
    """An ext4 file system on a file. `folder` is where it is mounted."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.image, self.folder = image, folder
        folder.mkdir(exist_ok=True)
        self._mounted = False

    def format(self, size: int, *options: str) -> None:
        """Make an empty file system of so many bytes; the file takes no more room than what is written to it."""
        with self.image.open("wb") as file:
            file.truncate(size)
        # Without lazy initialisation nothing is written to it later on that we have not written.
        run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", *options, str(self.image))

    def mount(self, options: str = "loop") -> None:
        """Mount it, as a start of the machine does: the journal is replayed."""
        run("mount", "-o", options, str(self.image), str(self.folder))
        self._mounted = True

    def cut(self) -> None:
        """Cut the power: from now on nothing reaches the device any more, and every write fails."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, GOING_DOWN, WITHOUT_THE_LOG)
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """Unmount it; who has a file open there is waited for."""
        if self._mounted:
            _unmount(self.folder)
            self._mounted = False
            self._let_go()

    def _let_go(self) -> None:
        """Wait for whoever else holds it: a container that starts has a copy of every mount until it has its own root.

        As long as it has, to mount the file again gives the same file system, dead as it may be.
        """
        until = time.monotonic() + UNMOUNT_SECONDS
        while any(_backing(device) == str(self.image) for device in Path("/sys/block").glob("loop*")):
            if time.monotonic() > until:
                raise OSError(f"{self.image} is still mounted somewhere else")
            time.sleep(0.01)

    def restart(self) -> None:
        """Come back after `cut`."""
        self.unmount()
        self.mount()

    def check(self) -> None:
        """Let e2fsck look at every block of the unmounted file system; raises `OSError` for one that is damaged."""
        run("e2fsck", "-f", "-n", str(self.image))

    def give(self, size: int) -> None:
        """Let the thin device that this is on have so many bytes."""
        run("mount", "-o", f"remount,size={size}", str(self.image.parent))

    @contextmanager
    def ending_in(self, file: Path) -> Iterator[None]:
        """Let the device end a page into a file while the block runs: the rest of it can't be read."""
        self.unmount()
        self.mount()  # with nothing of it in memory
        whole = self.image.read_bytes()
        end = (_first_byte(file) // PAGE + 2) * PAGE
        os.truncate(self.image, end)
        try:
            yield
        finally:
            with self.image.open("r+b") as image:
                image.seek(end)
                image.write(whole[end:])
            self.restart()


def _backing(device: Path) -> str:
    """Return the file that a loop device is on; empty: none."""
    try:
        return (device / "loop/backing_file").read_text().rstrip("\n")
    except OSError:
        return ""


def _first_byte(file: Path) -> int:
    """Return where on its device a file begins."""
    extent = next(line for line in run("filefrag", "-v", "-b1", str(file)).splitlines() if ".." in line)
    return int(extent.split()[3].rstrip("."))


def _unmount(folder: Path) -> None:
    until = time.monotonic() + UNMOUNT_SECONDS
    while True:
        try:
            run("umount", str(folder))
        except OSError:
            if time.monotonic() > until:
                run("umount", "--lazy", str(folder))
                raise
            time.sleep(0.01)  # a process that was just killed may not have let go of its files yet
        else:
            return


@contextmanager
def ext4(folder: Path, *options: str, size: int = 16 * MEGABYTE) -> Iterator[Ext4]:
    """Give a mounted ext4 whose power can be cut; `options` are of mkfs."""
    needs("mkfs.ext4")
    with room(folder) as place:
        disk = Ext4(place / "image", folder / "disk")
        disk.format(size, *options)
        try:
            disk.mount()
        except OSError as error:
            pytest.skip(f"NOT tested: no loop device can be mounted here: {error}")
        try:
            yield disk
        finally:
            disk.unmount()


@contextmanager
def thin(folder: Path, size: int, real: int) -> Iterator[Ext4]:
    """Give a mounted ext4 of `size` bytes on a device that has only so many `real` ones, and errors beyond them.

    As on thinly provisioned storage a write succeeds as long as it stays in memory; the sync of it then fails.
    """
    needs("mkfs.ext4")
    with tmpfs(folder / "device", f"size={real}") as device:
        disk = Ext4(device / "image", folder / "disk")
        disk.format(size)
        try:
            # Else ext4 would allocate all blocks of a file when it is closed, and find the device full before the sync.
            disk.mount("loop,errors=remount-ro")
        except OSError as error:
            pytest.skip(f"NOT tested: no loop device can be mounted here: {error}")
        try:
            yield disk
        finally:
            disk.unmount()


@contextmanager
def tmpfs(folder: Path, options: str) -> Iterator[Path]:
    """Give a file system in memory, mounted with these options (`size=1m`)."""
    needs()
    folder.mkdir(exist_ok=True)
    try:
        run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    except OSError as error:
        pytest.skip(f"NOT tested: no tmpfs can be mounted here: {error}")
    try:
        yield folder
    finally:
        _unmount(folder)


@contextmanager
def room(folder: Path) -> Iterator[Path]:
    """Give a folder in memory, gone with the block, where there is a tmpfs with room in it; else `folder` itself."""
    if not MEMORY.is_mount() or shutil.disk_usage(MEMORY).free < 256 * MEGABYTE:
        yield folder
        return
    place = Path(tempfile.mkdtemp(prefix="faults-", dir=MEMORY))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


class Ballast:
    """What fills a disk, and makes room again."""

    def __init__(self, disk: Path) -> None:
        self._folder = disk / "ballast"
        self._folder.mkdir()

    def leave(self, free: int) -> None:
        """Take all of the disk but so many bytes, rounded down to its blocks."""
        self.drop()
        size = 0
        with (self._folder / "0").open("wb") as file:
            for _ in range(100):  # others may take some of it, or give some back, at the same time
                disk = os.statvfs(self._folder)
                if (more := disk.f_bavail * disk.f_frsize - free) <= 0:
                    return
                with suppress(OSError):
                    os.posix_fallocate(file.fileno(), size, more)
                    size += more

    def leave_names(self, free: int) -> None:
        """Take all names (inodes) of the disk but so many."""
        self.drop()
        for number in range(os.statvfs(self._folder).f_favail - free):
            (self._folder / str(number)).touch()

    def drop(self) -> None:
        """Free the disk."""
        for path in self._folder.iterdir():
            path.unlink()
