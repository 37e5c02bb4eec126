"""A Bicep file as tests read it, by tree-sitter's grammar: what it declares, and what it says of each resource."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import tree_sitter
import tree_sitter_bicep
from tree_sitter import Node

LANGUAGE = tree_sitter.Language(tree_sitter_bicep.language())


class Resource(NamedTuple):
    """A resource: its full type, its API version, what it is called in the file, and the object that describes it."""

    type: str
    version: str
    symbol: str
    body: Node
    is_existing: bool


def parsed(source: str) -> Node:
    return tree_sitter.Parser(LANGUAGE).parse(source.encode()).root_node


def text(node: Node) -> str:
    assert node.text is not None
    return node.text.decode()


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def mistakes(root: Node) -> list[str]:
    """Where the grammar is broken."""
    broken = (node for node in walk(root) if node.is_error or node.is_missing)
    return [f"line {node.start_point.row + 1}: {text(node)[:60]!r}" for node in broken]


def declared(root: Node, kind: str) -> dict[str, Node]:
    """All declarations of a kind (`parameter`, `variable`, `output`) by their names."""
    found = (node for node in walk(root) if node.type == f"{kind}_declaration")
    return {text(next(child for child in node.children if child.type == "identifier")): node for node in found}


def used(root: Node) -> set[str]:
    """The names that something refers to: no keys, no functions' names, no declarations."""
    return {text(node) for node in walk(root) if node.type == "identifier" and _is_reference(node)}


def _is_reference(node: Node) -> bool:
    parent = node.parent
    assert parent is not None
    first = parent.named_children[0] == node
    if parent.type in {"object_property", "call_expression", "resource_expression"}:
        return not first if parent.type == "object_property" else parent.type == "resource_expression" and first
    return not (parent.type.endswith("_declaration") and first)


def resources(node: Node, outer: Resource | None = None) -> Iterator[Resource]:
    """Every resource, those that stand in another one under their whole type."""
    for child in node.children:
        if child.type == "resource_declaration":
            here = _resource(child, outer)
            yield here
            yield from resources(here.body, here)
        else:
            yield from resources(child, outer)


def _resource(node: Node, outer: Resource | None) -> Resource:
    symbol, kind, *_ = node.named_children
    name, _, version = text(kind).strip("'").partition("@")
    body = next(found for found in walk(node) if found.type == "object")
    existing = any(child.type == "existing" for child in node.children)
    if outer:
        return Resource(f"{outer.type}/{name}", version or outer.version, text(symbol), body, existing)
    return Resource(name, version, text(symbol), body, existing)


def properties(body: Node) -> dict[str, Node]:
    """The values of an object by their keys; resources that stand in it are left out."""
    pairs = (child.named_children for child in body.named_children if child.type == "object_property")
    return {text(pair[0]).strip("'"): pair[1] for pair in pairs if len(pair) == 2}


def read(path: Path) -> Node:
    return parsed(path.read_text())
