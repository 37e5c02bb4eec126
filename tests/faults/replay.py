"""Which states a power cut can leave: a write trace, recorded by strace, replayed in every order that is allowed.

What a journalling file system promises, and no more:

* What was written to a file is there for certain once the file was synced; before that nothing of it, all of it, the
  first half of it, or as many zeros.
* A name that was made, moved or removed is so for certain once its folder was synced. Before that the folder may have
  any of its earlier versions since the last sync, whatever other folders and the data of files have.

So between any two calls there are some states; those that differ are yielded once, each with what was acknowledged.
"""

from __future__ import annotations

import codecs
import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.faults.tracing import DONE, traced

RECORDED = (
    "openat,write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,"
    "link,linkat,newfstatat,lseek"
)
ACKNOWLEDGED = "/dev/null"
"""A line that is written there has been acknowledged to the user."""

IGNORED = (".locks", ".lock", ".alerts.lock")
"""Names whose loss is none: they are made again."""

_LINE = re.compile(r"\d+ +(\w+)\((.*)\) += (-?\d+)", re.DOTALL)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_HANDLE = re.compile(r"(\d+)<([^>]*)>")


class Op(NamedTuple):
    """A call that matters: what, on which path, and the rest of what it was given."""

    kind: str
    path: str
    data: bytes = b""
    to: str = ""
    number: int = 0


def recorded(act: Callable[[Path, int], object], folder: Path, scratch: Path) -> list[Op]:
    """Return the calls by which something changes a folder; it writes what it acknowledges to the open file given."""
    null = os.open(ACKNOWLEDGED, os.O_WRONLY)
    try:
        ended = traced(
            lambda: act(folder, null),
            scratch,
            "-y",
            "-v",
            "-s",
            "10000000",
            "-e",
            f"trace={RECORDED}",
            "-e",
            "signal=none",
        )
    finally:
        os.close(null)
    assert ended.code == DONE, ended.said
    return list(_parsed(ended.trace, str(folder)))


def _parsed(trace: str, folder: str) -> Iterator[Op]:
    """Yield the calls in a folder, with paths relative to it."""
    for line in trace.splitlines():
        match = _LINE.match(line)
        if match is None or int(match[3]) < 0:
            continue
        name, arguments, result = match[1], match[2], int(match[3])
        handle = _HANDLE.match(arguments)
        if name == "write" and handle and handle[2] == ACKNOWLEDGED:
            yield Op("acknowledge", "", _bytes(arguments))
            continue
        yield from (
            op._replace(path=op.path.removeprefix(folder).lstrip("/"), to=op.to.removeprefix(folder).lstrip("/"))
            for op in _op(name, arguments, result)
            if op.path.startswith(folder) and not any(f"/{part}" in op.path for part in IGNORED)
        )


def _op(name: str, arguments: str, result: int) -> Iterator[Op]:
    handle = _HANDLE.match(arguments)
    at = handle[2] if handle else ""
    texts = [codecs.decode(text, "unicode_escape") for text in _STRING.findall(arguments)] if name != "write" else []
    if name == "openat" and "O_CREAT" in arguments:
        yield Op("create", texts[0])
    elif name == "openat" and "O_TRUNC" in arguments:
        yield Op("truncate", texts[0])
    elif name == "write":
        yield Op("write", at, _bytes(arguments)[:result])
    elif name == "lseek":
        yield Op("seek", at, number=result)
    elif name in {"pwrite64", "ftruncate"}:
        raise NotImplementedError(name)
    elif name in {"fsync", "fdatasync"}:
        yield Op("sync", at)
    elif name.startswith(("rename", "link")):
        yield Op(name.rstrip("2").removesuffix("at"), texts[0], to=texts[1])
    elif name.startswith(("unlink", "mkdir")):
        yield Op(name.removesuffix("at"), texts[0])
    elif name == "newfstatat" and texts and (found := re.search(r"st_mtime=(\d+).*st_mtime_nsec=(\d+)", arguments)):
        yield Op("stamp", texts[0], number=int(found[1]) * 10**9 + int(found[2]))


def _bytes(arguments: str) -> bytes:
    found = _STRING.search(arguments)
    assert found is not None
    return codecs.decode(found[1], "unicode_escape").encode("latin-1")


class Data:
    """What is in a file: `durable` for certain, `written` if nothing happens."""

    def __init__(self, durable: bytes, mtime_ns: int) -> None:
        self.durable = self.written = durable
        self.mtime_ns = mtime_ns
        self.position = 0

    def write(self, body: bytes) -> None:
        """Write where the last write ended."""
        end = self.position + len(body)
        self.written = self.written[: self.position].ljust(self.position, b"\0") + body + self.written[end:]
        self.position = end

    def outcomes(self) -> list[bytes]:
        """Return what may be left of it."""
        if self.durable == self.written:
            return [self.written]
        pairs = enumerate(zip(self.durable, self.written, strict=False))
        same = next((n for n, (one, other) in pairs if one != other), min(len(self.durable), len(self.written)))
        new = len(self.written) - same
        torn, zeros = self.written[: same + new // 2], self.written[:same] + bytes(new)
        return list(dict.fromkeys([self.durable, self.written, torn, zeros]))


class Names:
    """What is in a folder: versions since the last sync, the latest last."""

    def __init__(self) -> None:
        self.versions: list[dict[str, Data | None]] = [{}]

    def put(self, name: str, data: Data | None) -> None:
        """Let a name stand for a file; None: a folder."""
        self.versions.append({**self.versions[-1], name: data})

    def move(self, name: str, to: str) -> None:
        """Rename, all at once."""
        names = dict(self.versions[-1])
        names[to] = names.pop(name)
        self.versions.append(names)

    def drop(self, name: str) -> None:
        """Remove a name."""
        self.versions.append({key: data for key, data in self.versions[-1].items() if key != name})

    def sync(self) -> None:
        """Forget all versions but the latest."""
        del self.versions[:-1]


Tree = dict[str, tuple[bytes, int]]
"""A folder's files by path: content and time of change."""


class Disk:
    """A folder on a disk whose power may be cut."""

    def __init__(self, folder: Path) -> None:
        self.folders: dict[str, Names] = {"": Names()}
        for path in sorted(folder.rglob("*")):
            where, name = os.path.split(path.relative_to(folder).as_posix())
            stat = path.stat()
            self.folders[where].versions[-1][name] = (
                None if path.is_dir() else Data(path.read_bytes(), stat.st_mtime_ns)
            )
            if path.is_dir():
                self.folders[path.relative_to(folder).as_posix()] = Names()

    def _names(self, path: str) -> tuple[Names, str]:
        where, name = os.path.split(path)
        return self.folders[where], name

    def _data(self, path: str) -> Data:
        names, name = self._names(path)
        found = names.versions[-1][name]
        assert found is not None
        return found

    def apply(self, op: Op) -> None:
        """Let a call have happened."""
        getattr(self, f"_{op.kind}")(op)

    def _create(self, op: Op) -> None:
        names, name = self._names(op.path)
        if name not in names.versions[-1]:
            names.put(name, Data(b"", 0))

    def _truncate(self, op: Op) -> None:
        self._data(op.path).written = b""

    def _write(self, op: Op) -> None:
        self._data(op.path).write(op.data)

    def _seek(self, op: Op) -> None:
        self._data(op.path).position = op.number

    def _sync(self, op: Op) -> None:
        if op.path in self.folders:
            self.folders[op.path].sync()
        else:
            data = self._data(op.path)
            data.durable = data.written

    def _rename(self, op: Op) -> None:
        names, name = self._names(op.path)
        assert os.path.dirname(op.path) == os.path.dirname(op.to)  # noqa: PTH120 - no Path, a name in the trace
        names.move(name, os.path.basename(op.to))  # noqa: PTH119

    def _link(self, op: Op) -> None:
        names, name = self._names(op.to)
        names.put(name, self._data(op.path))

    def _unlink(self, op: Op) -> None:
        names, name = self._names(op.path)
        names.drop(name)

    def _mkdir(self, op: Op) -> None:
        names, name = self._names(op.path)
        names.put(name, None)
        self.folders[op.path] = Names()

    def _stamp(self, op: Op) -> None:
        names, name = self._names(op.path)
        if (data := names.versions[-1].get(name)) is not None:
            data.mtime_ns = op.number

    def states(self) -> Iterator[Tree]:
        """Yield what a power cut can leave now."""
        open_data = list({id(data): data for data in self._all() if data.durable != data.written}.values())
        for bodies in itertools.product(*(data.outcomes() for data in open_data)):
            chosen = {id(data): body for data, body in zip(open_data, bodies, strict=True)}
            for versions in itertools.product(*(names.versions for names in self.folders.values())):
                yield dict(_tree("", dict(zip(self.folders, versions, strict=True)), chosen))

    def _all(self) -> Iterator[Data]:
        for names in self.folders.values():
            for version in names.versions:
                yield from (data for data in version.values() if data is not None)


def _tree(
    where: str, folders: dict[str, dict[str, Data | None]], chosen: dict[int, bytes]
) -> Iterator[tuple[str, tuple[bytes, int]]]:
    for name, data in folders[where].items():
        path = f"{where}/{name}".lstrip("/")
        if data is None:
            yield f"{path}/", (b"", 0)
            yield from _tree(path, folders, chosen)
        else:
            yield path, (chosen.get(id(data), data.written), data.mtime_ns)


class Cut(NamedTuple):
    """A state that a power cut can leave, behind which call, and what was acknowledged until then."""

    tree: Tree
    behind: str
    acknowledged: str


def cuts(folder: Path, ops: list[Op]) -> Iterator[Cut]:
    """Yield every state that a power cut can leave while a folder is changed by some calls; equal ones once."""
    disk, told, seen = Disk(folder), "", set[int]()
    for op in [None, *ops]:
        if op is not None and op.kind == "acknowledge":
            told += op.data.decode()
        elif op is not None:
            disk.apply(op)
        for tree in disk.states():
            identity = hash((told, frozenset(tree.items())))
            if identity not in seen:
                seen.add(identity)
                yield Cut(tree, "nothing" if op is None else f"{op.kind} {op.path}", told)


def materialise(tree: Tree, folder: Path) -> None:
    """Write a state to an empty place."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path, (body, mtime_ns) in sorted(tree.items()):
        if path.endswith("/"):
            (folder / path).mkdir(exist_ok=True)
            continue
        (folder / path).write_bytes(body)
        os.utime(folder / path, ns=(mtime_ns, mtime_ns))
