"""A restore is made in two steps: all of it into one folder, and from there into its place.

`.restore/` is being filled, and counts for nothing. Once everything in it is durable and was checked it becomes
`.restored/` by one rename, and from then on the restore has happened: if it is killed before the last file is in its
place, the next process that works on the folder goes on (`locks.make_folder`). The data folder itself can't be
renamed into place: it is where a volume is mounted, as often as not.
"""

from __future__ import annotations

from pathlib import Path

from openaq_pipeline.files import exists, storage_error, sync_folder

STAGING, WHOLE = ".restore", ".restored"
ABOUT = "backup.json"
"""What the backup says of itself; the last file to go, and the only one that is not moved."""


def is_pending(folder: Path) -> bool:
    """Say whether a whole restore waits to be moved into its place. Raises `StorageError`."""
    return exists(folder / WHOLE)


def finish(folder: Path) -> None:
    """Move what is left of a whole restore into its place; wants the folder's lock. May be stopped and done again.

    Raises `StorageError`.
    """
    waiting = folder / WHOLE
    try:
        for name in sorted(path.name for path in waiting.iterdir()):
            if name != ABOUT:
                (waiting / name).rename(folder / name)
        sync_folder(folder)
        sync_folder(waiting)
        (waiting / ABOUT).unlink(missing_ok=True)
        waiting.rmdir()
        sync_folder(folder)
    except OSError as error:
        raise storage_error(error, waiting) from error
