"""`DATABASE_URL`: where the database is, without who asks and with which password."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict

from openaq_pipeline.errors import ConfigError

DSN_HINT = "Set DATABASE_URL in the environment or in .env, such as postgresql://user:password@host:5432/database."
ESCAPE_HINT = "Write characters such as @ : / # % in the user or the password as %40 %3A %2F %23 %25."
PLAIN_HOST = re.compile(r"[\w.:,/-]*", re.ASCII)
PLAIN_PORT = re.compile(r"[\d,]*", re.ASCII)


class Address(NamedTuple):
    """What may be shown of a connection string; `port` and `name` are empty where it leaves them to the defaults."""

    host: str
    port: str
    name: str

    def __str__(self) -> str:
        place = f"{self.host}:{self.port}" if self.port else self.host
        return f"{place}, database {self.name}" if self.name else place


def address_of(dsn: str) -> Address:
    """Return where a connection string points; raises `ConfigError` for what is none.

    A password with a bare @ or / ends up in the host, the port or the name of the database: such a string is refused
    here, before a piece of it is shown.
    """
    if not dsn.strip():
        raise ConfigError("DATABASE_URL is not set", hint=DSN_HINT)
    try:
        found = {key: str(value) for key, value in conninfo_to_dict(dsn).items() if value is not None}
    except psycopg.Error:  # its text quotes the string
        raise ConfigError("DATABASE_URL is not the address of a PostgreSQL database", hint=DSN_HINT) from None
    host, port, name = found.get("host", ""), found.get("port", ""), found.get("dbname", "")
    if not (PLAIN_PORT.fullmatch(port) and PLAIN_HOST.fullmatch(host)) or re.search("[/@]", name):
        raise ConfigError("DATABASE_URL can't be taken apart into user, password, host and port", hint=ESCAPE_HINT)
    return Address(host or found.get("hostaddr", "") or "the local socket", port, name)


def may_be_overheard(dsn: str, environ: Mapping[str, str]) -> bool:
    """Say whether password and rows go over a network to a server whose certificate is not checked.

    libpq's own default, `prefer`, takes whatever answers, encrypted or not. `dsn` is one that `address_of` takes.
    """
    found = {key: str(value) for key, value in conninfo_to_dict(dsn).items() if value}
    mode = found.get("sslmode") or environ.get("PGSSLMODE") or "prefer"
    hosts = (found.get("hostaddr") or found.get("host") or "").split(",")
    return mode not in {"verify-ca", "verify-full"} and not all(map(_is_here, hosts))


def _is_here(host: str) -> bool:
    """Say whether a host is this machine: a socket in the file system, or itself by its very name."""
    if not host or host.startswith(("/", "@")) or host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
