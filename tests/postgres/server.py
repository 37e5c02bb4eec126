"""A PostgreSQL server of our own, in a temporary folder, that can be stopped and started; never the machine's."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path
from urllib.parse import quote

import psycopg

FOLDERS = (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/local/pgsql/bin"))
USER, PASSWORD = "keeper", "s3cr3t-Pässword"


def binaries() -> Path | None:
    """Return where initdb and pg_ctl are; None: nowhere."""
    found = shutil.which("initdb")
    folders = [Path(os.path.realpath(found)).parent, *FOLDERS] if found else list(FOLDERS)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)


class Server:
    """One cluster. It listens on loopback and on a socket in its folder, and wants a password over TCP."""

    def __init__(self, bin_folder: Path, folder: Path, *, durable: bool = False) -> None:
        self._bin = bin_folder
        self._folder = folder
        self._durable = durable
        self._data = folder / "cluster"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]

    def create(self) -> None:
        self._folder.mkdir()
        (self._folder / "password").write_text(PASSWORD)
        if owner := _other_user():
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
        self._call(
            *("initdb", "--pgdata", self._data, "--username", USER, "--pwfile", self._folder / "password"),
            *(
                "--auth-local",
                "trust",
                "--auth-host",
                "scram-sha-256",
                "--encoding",
                "UTF8",
                "--locale",
                "C",
                "--no-sync",
            ),
        )

    def start(self) -> None:
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c max_wal_size=4GB"
        if not self._durable:  # the killing of a process, unlike a power cut, loses nothing that was written
            options += " -c fsync=off"
        log = self._folder / "log"
        self._call("pg_ctl", "start", "--pgdata", self._data, "--log", log, "--wait", "--options", options)

    def stop(self, mode: str = "fast") -> None:
        self._call("pg_ctl", "stop", "--pgdata", self._data, "--wait", "--mode", mode)

    def dsn(self, database: str = "postgres") -> str:
        return f"host={self._folder} port={self.port} user={USER} dbname={database}"

    def url(self, database: str = "postgres", written: str | None = None) -> str:
        return f"postgresql://{USER}:{written or quote(PASSWORD)}@127.0.0.1:{self.port}/{database}"

    def backends(self) -> list[int]:
        """Return the processes that serve the sink right now, in the midst of a transaction."""
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'openaq-pipeline' AND xact_start IS NOT NULL"
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            return [pid for (pid,) in connection.execute(query)]

    def make_database(self, name: str) -> None:
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())

    def _call(self, program: str, *arguments: str | Path) -> None:
        """Run one of PostgreSQL's programs, which all refuse to be run by root."""
        owner = _other_user()
        command = [str(self._bin / program), *map(str, arguments)]
        done = subprocess.run(
            command,
            user=owner.pw_uid if owner else None,
            group=owner.pw_gid if owner else None,
            extra_groups=[] if owner else None,
            cwd=self._folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr}")


def _other_user() -> pwd.struct_passwd | None:
    """Return whom PostgreSQL runs as when we are root, None when it may run as ourselves."""
    if os.getuid():
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
