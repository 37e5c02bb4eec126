"""Files that survive: atomic and durable replacement, setting aside.

A reader sees the old version or the new one, never a mixture, whatever stops the writer; once `replacing` has
ended without an error the new version survives a power cut (Linux, a journalling file system, an honest fsync).
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from stat import S_ISDIR
from typing import IO

from openaq_pipeline import pulse
from openaq_pipeline.errors import StorageError

OTHERS_FOLDER = {errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.EROFS}
"""Why a folder that somebody else has made may not be synced, or not be synced at all."""

FILE_MODE, FOLDER_MODE = 0o640, 0o750
"""Of what is made new in a folder of ours: its group may read, others nothing. A stricter umask takes away more."""

USERS_OWN_MODE = 0o666
"""Of what a user asks for by name, such as an export: as his umask has it, like every other program's output."""


@contextmanager
def replacing(path: Path, *, mode: int = FILE_MODE) -> Iterator[IO[bytes]]:
    """Give a binary file that takes the place of `path` when the block ends well; otherwise `path` stays as it was.

    A file that was there keeps its owner and permissions, a new one has `mode`, less the umask. The temporary file has
    one fixed name beside its target, so the caller must hold the lock that guards `path`, and what a killed writer left
    is overwritten by the next. Raises `StorageError` when the disk refuses.
    """
    target = _real(path)  # replacing a link itself would cut it off from the real file
    temporary = temporary_of(target)
    try:
        with _create(temporary, mode, like=target) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
        pulse.beat()  # a slow disk is no hang
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise storage_error(error, target) from error
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def temporary_of(path: Path) -> Path:
    """Return where `replacing` prepares the next version of `path`: hidden, so that no `*.json` pattern matches it."""
    return path.with_name(f".{path.name}.tmp")


def remove_temporary(path: Path) -> None:
    """Remove what a killed writer of `path` left; wants the lock that guards it. Raises `OSError`."""
    temporary_of(_real(path)).unlink(missing_ok=True)


def _real(path: Path) -> Path:
    """Return what a link leads to; a file that is none stays as it is named, be its folder behind a link or not."""
    # Not `Path.is_symlink`, which raises where a folder may not be looked into: who opens the file says that better.
    return Path(os.path.realpath(path)) if os.path.islink(path) else path  # noqa: PTH114


def _create(path: Path, mode: int, *, like: Path) -> IO[bytes]:
    """Open a new file with the owner, where allowed, and the permissions of `like`; without one with `mode`."""
    path.unlink(missing_ok=True)  # what a killed writer left may have another owner, or be a link
    return _new(path, mode, like=like)


def _new(path: Path, mode: int, *, like: Path) -> IO[bytes]:
    """Open a file that is not there yet, as `_create` says; raises `FileExistsError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    file = os.fdopen(descriptor, "wb")
    try:
        _make_alike(descriptor, like)
    except BaseException:
        file.close()
        raise
    return file


def _make_alike(descriptor: int, like: Path) -> None:
    """Give an open file the owner, where allowed, and the permissions of another, if there is one."""
    try:
        stat = like.stat()
    except FileNotFoundError:
        return
    with suppress(OSError):  # a run as root must not take the file away from its user; others can't give files away
        os.fchown(descriptor, stat.st_uid, stat.st_gid)
    os.fchmod(descriptor, stat.st_mode & 0o777)


def give_to_owner(path: Path) -> None:
    """Let what root has made belong to whoever its folder belongs to, who would be shut out of it; others can't."""
    if os.geteuid() != 0:
        return
    with suppress(OSError):
        owner, found = path.parent.stat(), path.lstat()
        if (found.st_uid, found.st_gid) == (owner.st_uid, owner.st_gid):
            return
        # That owner may have laid a second name of somebody else's file there, to be given that.
        if found.st_nlink == 1 or S_ISDIR(found.st_mode):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: without it a power cut can bring the old file back after a rename."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path, now: datetime) -> Path:
    """Move a damaged file out of the way, never over another one, and return its new place. Nothing is deleted."""
    place = keep_aside(path, now)
    remove_durably(path)
    return place


def keep_aside(path: Path, now: datetime) -> Path:
    """Give a file a second, durable name beside it, never another one's, and return that; `path` stays for now.

    What replaces `path` afterwards leaves the second name with the old bytes.
    """
    real = Path(os.path.realpath(path))
    return _keep(real, real.with_name(f"{real.name}.damaged-{now:%Y%m%dT%H%M%SZ}"))


def keep_elsewhere(path: Path, place: Path, now: datetime) -> Path:
    """Give a file a second, durable name in another folder, as `keep_aside` does beside it, and return that.

    For folders whose readers take every file in them for data. `place` lacks the time, which is added.
    """
    try:
        make_durably(place.parent)
    except OSError as error:
        raise storage_error(error, place.parent) from error
    return _keep(Path(os.path.realpath(path)), place.with_name(f"{place.name}.damaged-{now:%Y%m%dT%H%M%SZ}"))


def remove_durably(path: Path) -> None:
    """Remove a file so that no power cut brings it back; raises `StorageError` when the disk refuses."""
    real = Path(os.path.realpath(path))  # a link stays: the next version belongs where it points
    try:
        real.unlink()
        sync_folder(real.parent)
    except OSError as error:
        raise storage_error(error, path) from error


def _keep(path: Path, first: Path) -> Path:
    """Give a file the name `first`, or that with a number where it is taken; durable when it returns."""
    for number in range(1, 1000):
        place = first if number == 1 else first.with_name(f"{first.name}-{number}")
        try:
            _name_twice(path, place)
            sync_folder(place.parent)
        except FileExistsError:
            continue
        except OSError as error:
            raise storage_error(error, path) from error
        return place
    raise StorageError(f"{path} could not be set aside", hint="Clear the *.damaged-* files in the data folder.")


def _name_twice(path: Path, place: Path) -> None:
    """Link `place` to the same file; where links are not to be had, copy it. Raises `FileExistsError` if taken."""
    try:
        os.link(path, place)  # unlike a rename, a link fails where the name is taken
    except FileExistsError:
        raise
    except OSError:  # FAT has no links, and Linux refuses them for files of others
        _copy(path, place)


def _copy(path: Path, place: Path) -> None:
    """Copy a file durably to a name that is not taken; half a copy does not stay. Raises `OSError`."""
    with path.open("rb") as old, _new(place, FILE_MODE, like=path) as new:
        try:
            shutil.copyfileobj(old, new)
            new.flush()
            os.fsync(new.fileno())
        except BaseException:
            place.unlink()
            raise


def make_durably(folder: Path) -> None:
    """Create a folder and those above it, each so that a power cut does not take it away with all that is in it.

    One that is there already is made durable too, once a process: who made it may have been killed before that.
    """
    made = not folder.is_dir()
    if not made and folder in _durable:
        return
    if made and folder.parent != folder:
        make_durably(folder.parent)
    if made:
        folder.mkdir(FOLDER_MODE, exist_ok=True)
    try:
        sync_folder(folder.parent)
    except OSError as error:
        if made or error.errno not in OTHERS_FOLDER:
            raise
    _durable.add(folder)


_durable: set[Path] = set()
"""The folders that this process has seen to."""


Stamp = tuple[int, int, int]


def stamp_of(path: Path) -> Stamp | None:
    """Return what tells a version of a file from any other; None: there is no file, or none that can be seen."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def exists(path: Path) -> bool:
    """Say whether there is something under a name; raises `StorageError` where the disk does not tell."""
    try:
        return path.exists()
    except OSError as error:
        raise storage_error(error, path) from error


def storage_error(error: OSError, path: Path) -> StorageError:
    """Return what an `OSError` means for the user, with what to do."""
    hints = {
        errno.ENOSPC: "Free some disk space; nothing stored was lost, and the next run goes on from there.",
        errno.EDQUOT: "Raise the disk quota; nothing stored was lost, and the next run goes on from there.",
        errno.EBUSY: "If it is mounted by itself (in a container?), mount its folder: files are replaced whole.",
        errno.EROFS: "The file system is read-only: mount it writable or choose another data folder.",
        errno.EACCES: "Give this user permission to read and write it, or choose another data folder.",
        errno.EPERM: "Give this user permission to read and write it, or choose another data folder.",
    }
    hint = hints.get(error.errno or 0, "Check the disk; nothing stored was lost, and the next run goes on from there.")
    return StorageError(f"{path} can't be read or written: {error.strerror or error}", hint=hint)
