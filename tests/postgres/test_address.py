"""What an address of a database says, without a database."""

from __future__ import annotations

import pytest

from openaq_pipeline.storage.postgres.address import may_be_overheard


@pytest.mark.parametrize(
    ("dsn", "environ", "overheard"),
    [
        ("postgresql://u:p@db.example/x", {}, True),
        ("postgresql://u:p@db.example/x?sslmode=require", {}, True),
        ("postgresql://u:p@db.example/x?sslmode=verify-full", {}, False),
        ("postgresql://u:p@db.example/x", {"PGSSLMODE": "verify-full"}, False),
        ("postgresql://u:p@10.0.0.5/x", {}, True),
        ("postgresql://u:p@localhost,db.example/x", {}, True),
        ("postgresql://u:p@localhost/x", {}, False),
        ("postgresql://u:p@127.0.0.1:5433/x", {}, False),
        ("postgresql://u:p@[::1]/x", {}, False),
        ("postgresql:///x?host=/var/run/postgresql", {}, False),
        ("dbname=x", {}, False),
        ("host=db.example dbname=x sslmode=disable", {}, True),
    ],
)
def test_who_sends_a_password_to_an_unchecked_server_is_warned(
    dsn: str, environ: dict[str, str], overheard: bool
) -> None:
    assert may_be_overheard(dsn, environ) == overheard
