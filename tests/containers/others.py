"""Stand-ins for the images of others that `docker-compose.yml` names, for machines that reach no registry of images.

Made of this machine's own PostgreSQL and Prometheus: the programs, the libraries they load, a shell. They take the
variables and flags that the originals take, write to the same places, and become the same kind of user. What they are
not: TimescaleDB (the extension is not in it), another Prometheus than this machine's, and Grafana: that one is a shell
that waits, as Grafana's user, so that what is mounted can be looked at from where Grafana would.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.containers.engine import BUILD_SECONDS, Engine
from tests.postgres.server import binaries

LABEL = "stand-in"
PULL_SECONDS = 300
NUMBERS = {"root": 0, "postgres": 70, "grafana": 472, "nobody": 65534}
"""Users as the originals count them."""

TOOLS = ("sh", "cat", "chmod", "chown", "id", "mkdir", "rm", "setpriv", "sleep")
ENTRY = """\
#!/bin/sh
# In short what the entrypoint of the original does: become postgres, make the database, serve it.
set -eu
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" && chmod 700 "$PGDATA"
    chown -R postgres "$PGDATA" /var/run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ -z "${POSTGRES_PASSWORD:-}" ]; then
        echo 'Error: Database is uninitialized and superuser password is not specified.' >&2
        echo '       You must specify POSTGRES_PASSWORD to a non-empty value for the superuser.' >&2
        exit 1
    fi
    (umask 077 && echo "$POSTGRES_PASSWORD" > /tmp/password)
    initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 \\
        --locale=C --encoding=UTF8 --no-sync
    rm /tmp/password
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    pg_ctl --wait start --options="-c listen_addresses=''"
    psql --username="$POSTGRES_USER" --dbname=postgres --command="CREATE DATABASE \\"$POSTGRES_DB\\""
    pg_ctl --wait stop
fi
exec "$@"
"""


class Recipe(NamedTuple):
    """What an image is made of: files of this machine, texts, folders with their owners, what the engine is told."""

    files: list[Path]
    texts: Mapping[str, str]
    folders: Mapping[str, str]
    told: list[str]


def postgresql(engine: Engine, image: str) -> str:
    """Return the image, pulled or made; skips, and says so, where neither can be."""
    folder = binaries()
    if folder is None:
        pytest.skip("NOT tested: PostgreSQL is not installed, of which the stand-in for TimescaleDB is made")
    return _had(engine, image, lambda: _postgresql(folder))


def prometheus(engine: Engine, image: str) -> str:
    """Return the image, pulled or made; skips, and says so, where neither can be."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("NOT tested: Prometheus is not installed, of which its stand-in is made")
    return _had(engine, image, lambda: _prometheus(Path(program)))


def grafana(engine: Engine, image: str) -> str:
    """Return the image, pulled, or something that is no Grafana but has its user and folders."""
    return _had(engine, image, _grafana)


def _had(engine: Engine, image: str, recipe: Callable[[], Recipe]) -> str:
    if not _is_fresh(engine, image) and engine.call("pull", "--quiet", image, timeout=PULL_SECONDS).code:
        _make(engine, image, recipe())
    return image


def _is_fresh(engine: Engine, image: str) -> bool:
    """Say whether the original is there, or a stand-in that was made as it is made now."""
    if not engine.has(image):
        return False
    labels: dict[str, str] = engine.inspect(image)["Config"]["Labels"] or {}
    return labels.get(LABEL, _edition()) == _edition()


def _edition() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]


def _postgresql(folder: Path) -> Recipe:
    programs = [folder / name for name in ("postgres", "initdb", "pg_ctl", "pg_isready", "psql")]
    run = _told(f"PATH={folder}:/usr/bin", "PGDATA=/var/lib/postgresql/data", "LC_ALL=C")
    trees = (_says(folder, "--pkglibdir"), _says(folder, "--sharedir"), Path("/usr/share/zoneinfo"))
    return Recipe(
        [*programs, *(path for tree in trees for path in _tree(tree))],
        {"entry": ENTRY},
        {"var/run/postgresql": "postgres", "var/lib/postgresql/data": "postgres"},
        [
            *run,
            "VOLUME /var/lib/postgresql/data",
            'ENTRYPOINT ["/entry"]',
            'CMD ["postgres", "-c", "listen_addresses=*"]',
        ],
    )


def _prometheus(program: Path) -> Recipe:
    run = [*_told("PATH=/usr/bin"), "USER nobody", "WORKDIR /prometheus", "VOLUME /prometheus"]
    return Recipe([program], {}, {"prometheus": "nobody"}, [*run, f'ENTRYPOINT ["{program}"]'])


def _grafana() -> Recipe:
    waiting = 'ENTRYPOINT ["/usr/bin/sh", "-c", "trap exit TERM; while :; do sleep 1; done"]'
    folders = {"var/lib/grafana": "grafana", "etc/grafana/provisioning": "root"}
    return Recipe([], {}, folders, [*_told("PATH=/usr/bin"), "USER grafana", waiting])


def _told(*variables: str) -> list[str]:
    return [f"ENV {variable}" for variable in variables]


def _says(folder: Path, what: str) -> Path:
    """Return a folder that PostgreSQL names."""
    return Path(subprocess.run([folder / "pg_config", what], capture_output=True, text=True, check=True).stdout.strip())


def _tree(folder: Path) -> Iterator[Path]:
    """Yield the files under a folder, without what compiles queries: it is large, and loads LLVM."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "bitcode" not in path.parts and "jit" not in path.name:
            yield path


def _make(engine: Engine, image: str, recipe: Recipe) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root.tar"
        with tarfile.open(root, "w") as tar:
            _fill(tar, recipe)
        told = [*recipe.told, f"LABEL {LABEL}={_edition()}"]
        changes = [word for line in told for word in ("--change", line)]
        engine("import", *changes, str(root), image, timeout=BUILD_SECONDS)


def _fill(tar: tarfile.TarFile, recipe: Recipe) -> None:
    tools = [Path(found) for name in TOOLS if (found := shutil.which(name))]
    programs = {*recipe.files, *tools}
    for folder in ("bin", "lib", "lib64", "sbin"):  # as on this machine: /lib is a link to usr/lib, or a folder
        if (link := Path("/") / folder).is_symlink():
            _add(tar, folder, kind=tarfile.SYMTYPE, target=str(link.readlink()))
    _add(tar, "tmp", mode=0o1777)
    for name, owner in recipe.folders.items():
        _add(tar, name, owner=owner)
    users = "".join(f"{name}:x:{number}:{number}::/:/bin/sh\n" for name, number in NUMBERS.items())
    groups = "".join(f"{name}:x:{number}:\n" for name, number in NUMBERS.items())
    for name, text in {"etc/passwd": users, "etc/group": groups, **recipe.texts}.items():
        _add(tar, name, text.encode(), mode=0o755)
    for path in sorted(programs | set(_libraries(programs))):
        place = path.parent.resolve() / path.name
        _add(tar, str(place).lstrip("/"), path.read_bytes(), mode=path.stat().st_mode & 0o755)


def _libraries(programs: Iterable[Path]) -> Iterator[Path]:
    """Yield what programs load, the loader included."""
    known = [path for path in programs if ".so" in path.name or os.access(path, os.X_OK)]
    done = subprocess.run(["ldd", *known], capture_output=True, text=True, check=False)  # of scripts it says: none
    for found in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", done.stdout, re.MULTILINE):
        yield Path(found)


def _add(
    tar: tarfile.TarFile,
    name: str,
    body: bytes | None = None,
    *,
    kind: bytes = tarfile.DIRTYPE,
    mode: int = 0o755,
    owner: str = "root",
    target: str = "",
) -> None:
    """Put a file into the tar; without a body a folder, or a link to `target`."""
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.linkname = (kind if body is None else tarfile.REGTYPE), mode, target
    member.uid = member.gid = NUMBERS[owner]
    member.size = len(body or b"")
    tar.addfile(member, io.BytesIO(body or b""))
