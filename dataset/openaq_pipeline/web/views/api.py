"""The documentation of the API, read from its OpenAPI document, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Document = Mapping[str, Any]


class Parameter(NamedTuple):
    """Something that can be asked for; `kind` says what it may be, `usual` what holds without it."""

    name: str
    place: str
    kind: str
    required: bool
    usual: str
    said: str


class Field(NamedTuple):
    """A field of an answer, indented by `depth`."""

    name: str
    kind: str
    said: str
    depth: int


class Operation(NamedTuple):
    """One address and what it gives."""

    anchor: str
    method: str
    path: str
    summary: str
    said: str
    parameters: list[Parameter]
    fields: list[Field]
    answers: list[tuple[str, str]]
    example: str | None


class Chapter(NamedTuple):
    """The addresses that belong together."""

    title: str
    operations: list[Operation]


DEEPEST = 3


def chapters(document: Document) -> list[Chapter]:
    """Return all operations of a document, by tag, in its order."""
    found: dict[str, list[Operation]] = {}
    for path, methods in document.get("paths", {}).items():
        for method, each in methods.items():
            found.setdefault((each.get("tags") or ["other"])[0], []).append(_operation(document, path, method, each))
    return [Chapter(title, operations) for title, operations in found.items()]


def _operation(document: Document, path: str, method: str, each: Document) -> Operation:
    given = [_resolved(document, parameter) for parameter in each.get("parameters", ())]
    answers = each.get("responses", {})
    content = _resolved(document, answers.get("200", {})).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    has_path = any(parameter["in"] == "path" for parameter in given)
    return Operation(
        each.get("operationId", path.strip("/").replace("/", "-")),
        method.upper(),
        path,
        each.get("summary", ""),
        each.get("description", ""),
        [_parameter(document, parameter) for parameter in given],
        list(_fields(document, schema, 0)),
        [(code, _resolved(document, answer).get("description", "")) for code, answer in answers.items()],
        None if has_path else path,
    )


def _parameter(document: Document, each: Document) -> Parameter:
    schema = each.get("schema", {})
    usual = schema.get("default")
    said = each.get("description") or _resolved(document, schema).get("description", "")
    kind = _kind(document, schema)
    return Parameter(
        each["name"], each["in"], kind, each.get("required", False), "" if usual is None else str(usual), said
    )


def _fields(document: Document, schema: Document, depth: int) -> Iterator[Field]:
    """Yield the fields of an object, and of the objects in it, down to some depth."""
    inner = _object(document, schema)
    for name, each in inner.get("properties", {}).items():
        said = each.get("description") or _resolved(document, each).get("description", "")
        yield Field(name, _kind(document, each), said.split("\n")[0], depth)
        if depth < DEEPEST:
            yield from _fields(document, each, depth + 1)


def _object(document: Document, schema: Document) -> Document:
    """Return the object that a schema is, or is a list or an option of."""
    found = _resolved(document, schema)
    for each in found.get("anyOf", ()):
        if inner := _object(document, each):
            return inner
    if "items" in found:
        return _object(document, found["items"])
    return found if "properties" in found else {}


def _kind(document: Document, schema: Document) -> str:
    """Return in a few words what a value may be."""
    found = _resolved(document, schema)
    if "anyOf" in found:
        return " or ".join(dict.fromkeys(_kind(document, each) for each in found["anyOf"]))
    if "enum" in found:
        return " | ".join(map(str, found["enum"]))
    if "const" in found:
        return str(found["const"])
    if found.get("type") == "array":
        return f"list of {_kind(document, found.get('items', {}))}"
    return " ".join(filter(None, (_type(found), _bounds(found))))


def _type(schema: Document) -> str:
    return str(
        {"date-time": "time", "date": "date", "uuid": "UUID"}.get(
            schema.get("format", ""), schema.get("type", "anything")
        )
    )


def _bounds(schema: Document) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"from {low}" if low is not None else f"up to {high}" if high is not None else ""


def _resolved(document: Document, schema: Document) -> Document:
    """Return what a reference leads to."""
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema
