"""What a Bicep file says of its resources, held against Azure's own types as they are published for Bicep.

The types are `generated/` of https://github.com/Azure/bicep-types-az, which is not part of this project.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from tree_sitter import Node

from tests.deploy.bicep import Resource, properties, text

REQUIRED, READ_ONLY = 1, 2

Types = list[dict[str, Any]]


class Published:
    """The types in a folder, by resource and version."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, resource: Resource) -> tuple[Types, dict[str, Any]] | None:
        """All types of the file that has a resource, and its own; None: there is no such resource in that version."""
        provider = resource.type.partition("/")[0].lower()
        wanted = f"{resource.type}@{resource.version}"
        for file in sorted(self._folder.glob(f"*/{provider}/{resource.version}/types.json")):
            types: Types = json.loads(file.read_text())
            for kind in types:
                if kind["$type"] == "ResourceType" and kind["name"].lower() == wanted.lower():
                    return types, at(types, kind["body"])
        return None


def at(types: Types, reference: Mapping[str, str]) -> dict[str, Any]:
    return types[int(reference["$ref"].removeprefix("#/"))]


def problems(resource: Resource, published: Published, variables: Mapping[str, Node]) -> Iterator[str]:
    """What the types have against a resource."""
    found = published.of(resource)
    where = f"{resource.type}@{resource.version}"
    if found is None:
        yield f"{where} does not exist"
        return
    types, kind = found
    # What Bicep itself fills in or takes away.
    ours = {name: value for name, value in properties(resource.body).items() if name not in {"dependsOn", "scope"}}
    filled = {"type", "apiVersion", "id"}
    yield from _Checker(types, variables).members(ours, kind["properties"], where, filled)


class _Checker:
    def __init__(self, types: Types, variables: Mapping[str, Node]) -> None:
        self._types, self._variables = types, variables

    def members(
        self, ours: Mapping[str, Node], theirs: Mapping[str, Any], where: str, filled: AbstractSet[str] = frozenset()
    ) -> Iterator[str]:
        for name, value in ours.items():
            if name not in theirs:
                yield f"{where}.{name} is unknown; known: {', '.join(sorted(theirs))}"
            elif theirs[name].get("flags", 0) & READ_ONLY:
                yield f"{where}.{name} is read-only"
            else:
                yield from self.value(value, at(self._types, theirs[name]["type"]), f"{where}.{name}")
        for name, their in theirs.items():
            if their.get("flags", 0) & REQUIRED and name not in ours and name not in filled:
                yield f"{where}.{name} is missing"

    def value(self, node: Node, kind: Mapping[str, Any], where: str) -> Iterator[str]:
        if node.type == "ternary_expression":
            for each in node.named_children[1:]:
                yield from self.value(each, kind, where)
        elif node.type == "identifier" and text(node) in self._variables:
            yield from self.value(self._variables[text(node)], kind, where)
        elif node.type == "object":
            yield from self.object(node, kind, where)
        elif node.type == "array":
            yield from self.array(node, kind, where)
        else:
            yield from self.plain(node, kind, where)

    def object(self, node: Node, kind: Mapping[str, Any], where: str) -> Iterator[str]:
        ours = properties(node)
        if kind["$type"] == "AnyType":
            return
        if kind["$type"] != "ObjectType":
            yield f"{where} is no object but {kind['$type']}"
        elif "additionalProperties" not in kind:
            yield from self.members(ours, kind["properties"], where)

    def array(self, node: Node, kind: Mapping[str, Any], where: str) -> Iterator[str]:
        if kind["$type"] != "ArrayType":
            yield f"{where} is no list but {kind['$type']}"
            return
        for number, each in enumerate(node.named_children):
            yield from self.value(each, at(self._types, kind["itemType"]), f"{where}[{number}]")

    def plain(self, node: Node, kind: Mapping[str, Any], where: str) -> Iterator[str]:
        said = text(node)
        is_text = node.type == "string" and "${" not in said
        allowed = list(self._leaves(kind))
        # Most lists of values are open in the types; what is not on them is a mistake all the same.
        values = [each["value"] for each in allowed if each["$type"] == "StringLiteralType"]
        is_free = not values and any(each["$type"] in {"StringType", "AnyType"} for each in allowed)
        if is_text and not is_free and said.strip("'") not in values:
            yield f"{where} is {said}; allowed: {values or kind['$type']}"
        if is_text and (pattern := kind.get("pattern")) and not re.search(pattern, said.strip("'")):
            yield f"{where} is {said}; it must match {pattern}"
        if node.type == "number" and not any(each["$type"] in {"IntegerType", "AnyType"} for each in allowed):
            yield f"{where} is a number; it must be {kind['$type']}"
        if node.type == "boolean" and not any(each["$type"] in {"BooleanType", "AnyType"} for each in allowed):
            yield f"{where} is true or false; it must be {kind['$type']}"

    def _leaves(self, kind: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        if kind["$type"] == "UnionType":
            for each in kind["elements"]:
                yield from self._leaves(at(self._types, each))
        else:
            yield kind
