"""What an error of PostgreSQL means for the user: whether it passes, and what to do. Never with the password."""

from __future__ import annotations

import re

import psycopg
from psycopg import errors

from openaq_pipeline.errors import FatalError, PipelineError, RetriableError, StorageError
from openaq_pipeline.storage.postgres.address import Address

CATCHES_UP = "The files are complete; the next sync goes on from where the database is."


class Unavailable(RetriableError):
    """The database does not answer now, or broke off."""


class Refused(FatalError):
    """The database answers and does not let us: somebody has to see to it."""


CONNECTING: tuple[tuple[str, type[Unavailable | Refused], str, str], ...] = (
    (
        r"password authentication failed|no password supplied|[Pp]eer authentication failed|role .* does not exist",
        Refused,
        "refuses the user or the password of DATABASE_URL",
        "Check both; characters such as @ and / are written as %40 and %2F there.",
    ),
    (r"no pg_hba\.conf entry", Refused, "lets this user not in from this machine", "Add a line to its pg_hba.conf."),
    (
        r"database .* does not exist",
        Refused,
        "has no such database",
        "Create it with createdb, or correct the name in DATABASE_URL.",
    ),
    (
        r"resolve|translate host name|Name or service not known|nodename nor servname",
        Unavailable,
        "is not to be found: no such host",
        "Check the host in DATABASE_URL, and the network.",
    ),
    (
        r"Connection refused|No such file or directory|connection is bad",
        Unavailable,
        "does not answer",
        f"See whether PostgreSQL runs there. {CATCHES_UP}",
    ),
    (r"timeout", Unavailable, "does not answer in time", f"See whether PostgreSQL runs there. {CATCHES_UP}"),
    (r"SSL|certificate", Refused, "can't be talked to over TLS", "Check sslmode and the certificates in DATABASE_URL."),
    (r"too many (clients|connections)|remaining connection slots", Unavailable, "has no free connection", CATCHES_UP),
    (r"the database system is", Unavailable, "is starting, stopping or recovering", CATCHES_UP),
)
"""Errors before there is a session carry no SQLSTATE; their English text tells them apart, any other is quoted."""


def explain(error: psycopg.Error, address: Address) -> PipelineError:  # noqa: PLR0911 - a table
    """Return what an error is for this program; `StorageError` is one where the rows are to blame."""
    where = f"PostgreSQL at {address}"
    match error:
        case errors.InsufficientPrivilege():
            hint = "The user of DATABASE_URL must own the schema openaq, or may create it: GRANT CREATE ON DATABASE."
            return Refused(f"{where} forbids it: {_first_line(error)}", hint=hint)
        case errors.QueryCanceled() | errors.LockNotAvailable():
            hint = f"See pg_stat_activity for who holds what. {CATCHES_UP}"
            return Unavailable(f"{where} took too long for a statement", hint=hint)
        case errors.ReadOnlySqlTransaction():
            return Refused(f"{where} takes no rows: it is read-only", hint="DATABASE_URL must name the primary server.")
        case errors.DiskFull():
            return Unavailable(f"{where} has no space left on its disk", hint=CATCHES_UP)
        case errors.InvalidPassword() | errors.InvalidAuthorizationSpecification() | errors.InvalidCatalogName():
            return _at_connecting(error, where)
        case psycopg.DataError() | psycopg.IntegrityError() | errors.CardinalityViolation():
            return StorageError(f"{where} can't take these rows: {_first_line(error)}")
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return _at_connecting(error, where)
        case _:
            hint = "Its tables may have been changed by hand; see storage/postgres/migrations for what they must be."
            return Refused(f"{where}: {_first_line(error)}", hint=hint)


def _at_connecting(error: psycopg.Error, where: str) -> PipelineError:
    """Return what stands between us and a session."""
    text = str(error)
    for pattern, kind, said, hint in CONNECTING:
        if re.search(pattern, text):
            return kind(f"{where} {said}", hint=hint)
    return Unavailable(f"{where} broke off: {_first_line(error)}", hint=CATCHES_UP)


def _first_line(error: psycopg.Error) -> str:
    """Return what the server says, without the lines that quote rows and statements."""
    said = error.diag.message_primary or str(error).partition("\n")[0]
    return said.strip() or type(error).__name__
