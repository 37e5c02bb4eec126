"""Reading path ids and query parameters as the official server does, its complaints included."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from openaq_pipeline.simulator.answers import Crash, out_of_range, unparsed

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
MAX_LIMIT = 1000
DEFAULT_LIMIT = 100
INTEGER = re.compile(r"\s*[+-]?\d+(\.0+)?\s*")
TRUE = {"1", "true", "t", "yes", "y", "on"}
FALSE = {"0", "false", "f", "no", "n", "off"}


class Paging(NamedTuple):
    """Which page is wanted, of how many rows."""

    limit: int
    page: int

    @property
    def offset(self) -> int:
        """Return how many rows come before the page."""
        return (self.page - 1) * self.limit


def path_id(raw: str, name: str) -> int:
    """Return the id in a path; not a number and below 1 are 422, above 32 bits makes the server crash."""
    number = integer(raw, "path", name)
    if number < 1:
        message = "Input should be greater than or equal to 1"
        raise out_of_range("greater_than_equal", name, message, number, {"ge": 1})
    if number > INT32_MAX:
        raise Crash
    return number


def paging(query: Mapping[str, str]) -> Paging:
    """Return `limit` and `page`, by default 100 and 1."""
    limit = _positive(query, "limit", DEFAULT_LIMIT)
    if limit > MAX_LIMIT:
        message = f"Input should be less than or equal to {MAX_LIMIT}"
        raise out_of_range("less_than_equal", "limit", message, limit, {"le": MAX_LIMIT})
    wanted = Paging(limit, _positive(query, "page", 1))
    if wanted.offset > INT64_MAX:
        raise Crash  # the database's OFFSET is a 64-bit number
    return wanted


def integer(raw: str, where: str, name: str) -> int:
    """Return a whole number from a `path` or `query` parameter, or raise the 422 of an unreadable one."""
    if not INTEGER.fullmatch(raw):
        message = "Input should be a valid integer, unable to parse string as an integer"
        raise unparsed([problem("int_parsing", (where, name), message, raw)])
    return int(raw.split(".", maxsplit=1)[0])


def integers(query: Mapping[str, str], name: str) -> set[int] | None:
    """Return a comma-separated list of ids, None if the parameter is absent."""
    raw = query.get(name)
    return None if raw is None else {integer(part, "query", name) for part in raw.split(",")}


def boolean(query: Mapping[str, str], name: str) -> bool | None:
    """Return a truth value, None if the parameter is absent."""
    raw = query.get(name)
    if raw is None or raw.lower() in TRUE | FALSE:
        return None if raw is None else raw.lower() in TRUE
    message = "Input should be a valid boolean, unable to interpret input"
    raise unparsed([problem("bool_parsing", ("query", name), message, raw)])


def problem(kind: str, loc: tuple[str, ...], message: str, given: str) -> dict[str, Any]:
    """Return one entry of a 422 in the form that the server's validator gives it."""
    return {"type": kind, "loc": loc, "msg": message, "input": given}


def _positive(query: Mapping[str, str], name: str, default: int) -> int:
    raw = query.get(name)
    if raw is None:
        return default
    number = integer(raw, "query", name)
    if number < 1:
        raise out_of_range("greater_than", name, "Input should be greater than 0", number, {"gt": 0})
    return number
