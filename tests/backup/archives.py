"""Archives as this program writes them, and as it never would; what is in one; folders to be backed up."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import msgspec

from openaq_pipeline.backup.manifest import FORMAT, LIST, VERSION, About, Entry, Totals
from openaq_pipeline.backup.reading import Archive
from openaq_pipeline.backup.restoring import restore
from openaq_pipeline.backup.writing import Written, back_up
from openaq_pipeline.restored import ABOUT

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
OURS = About(FORMAT, VERSION, "0.1.0", NOW, "an id")
NOT_TAKEN = {".lock", ".alerts.lock", "pipeline.log"}


class Found:
    """A sink that keeps what is in an archive."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.changed: dict[str, int] = {}

    def take(self, name: str, size: int, pieces: Iterable[bytes]) -> None:
        """Keep a file."""
        body = b"".join(pieces)
        assert len(body) == size
        self.files[name] = body

    def date(self, name: str, mtime_ns: int) -> None:
        """Keep when it had changed."""
        self.changed[name] = mtime_ns


def made(folder: Path, **how: object) -> bytes:
    """Return the archive of a folder."""
    return written(folder, **how)[1]


def written(folder: Path, **how: object) -> tuple[Written, bytes]:
    """Return what is said of the archive of a folder, and the archive."""
    body = io.BytesIO()
    done = back_up(folder, body.write, NOW, **how)  # type: ignore[arg-type]
    return done, body.getvalue()


def opened(body: bytes) -> Archive:
    return Archive(io.BytesIO(body), "b.tar.gz")


def content(body: bytes) -> dict[str, bytes]:
    """Return what is in an archive, which must be whole."""
    found = Found()
    opened(body).read(found)
    return found.files


def put_back(body: bytes, folder: Path) -> Path:
    """Restore an archive into a folder, and return that."""
    restore(opened(body), folder)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """Return every file of a data folder that belongs into a backup."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".locks" not in path.parts and path.name not in NOT_TAKEN
    }


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """Return the block in front of a file."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info.tobuf(tarfile.GNU_FORMAT)


def file(name: str, body: bytes) -> bytes:
    """Return a file as it stands in an archive."""
    return header(name, len(body)) + body + bytes(-len(body) % 512)


def listed(bodies: Iterable[tuple[str, bytes]], about: About = OURS, totals: Totals | None = None) -> bytes:
    """Return the list of an archive's files."""
    entries = [Entry(name, len(body), sha256(body).hexdigest()) for name, body in bodies]
    sums = totals or Totals(len(entries), sum(entry.size for entry in entries))
    return b"".join(msgspec.json.encode(line) + b"\n" for line in (about, *entries, sums))


def forged(
    inside: Iterable[tuple[str, bytes]] = (), *, raw: bytes = b"", about: About = OURS, end: bytes = b""
) -> bytes:
    """Return an archive of these files with a right list, `raw` blocks in front of that, and `end` behind all."""
    inside = list(inside)
    parts = [file(ABOUT, msgspec.json.encode(about)), *(file(name, body) for name, body in inside), raw]
    return gzip.compress(b"".join(parts) + file(LIST, listed(inside, about)) + bytes(1024) + end, compresslevel=1)


def lay_out(folder: Path, bodies: Mapping[str, bytes]) -> Path:
    """Write files, and return the folder."""
    folder.mkdir(exist_ok=True)
    for name, body in bodies.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    return folder
