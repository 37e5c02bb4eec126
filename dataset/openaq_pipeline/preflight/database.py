"""Whether the copy in PostgreSQL can be kept: one connection, nothing is changed."""

from __future__ import annotations

import os
from collections.abc import Iterator

from openaq_pipeline.preflight.checks import Finding
from openaq_pipeline.settings import Settings

RIGHTS = """
    SELECT current_setting('server_version'), pg_is_in_recovery(), CASE
        WHEN to_regnamespace('openaq') IS NULL THEN has_database_privilege(current_database(), 'CREATE')
        ELSE has_schema_privilege('openaq', 'CREATE')
    END
"""
RIGHTS_HINT = (
    "GRANT CREATE ON DATABASE to the user of DATABASE_URL, or give it a schema: CREATE SCHEMA openaq AUTHORIZATION."
)
TLS_HINT = "Add ?sslmode=verify-full&sslrootcert=system to DATABASE_URL, or name your own authority's certificate."
READ_ONLY_HINT = "DATABASE_URL must name the primary server."


def postgres(settings: Settings) -> Iterator[Finding]:
    """See whether the database lets us in and write; says nothing where no copy is wanted."""
    if not settings.storage.postgres.enabled:
        return
    from openaq_pipeline.storage.postgres.address import may_be_overheard  # noqa: PLC0415
    from openaq_pipeline.storage.postgres.connection import connected  # noqa: PLC0415 - only those who want it pay

    dsn = settings.storage.postgres.dsn
    with connected(dsn.get_secret_value() if dsn else "") as database, database.step() as connection:
        version, standby, may_create = connection.execute(RIGHTS).fetchone() or ("?", False, False)
    if standby:
        yield Finding("failed", f"PostgreSQL at {database.address} is a standby, which is read-only", READ_ONLY_HINT)
    elif not may_create:
        yield Finding("failed", f"PostgreSQL at {database.address} lets this user make no tables", RIGHTS_HINT)
    else:
        yield Finding("ok", f"PostgreSQL {version} at {database.address} takes the copy")
    if may_be_overheard(dsn.get_secret_value() if dsn else "", os.environ):
        said = f"the password goes to {database.address} without a look at the server's certificate"
        yield Finding("warning", said, TLS_HINT)
