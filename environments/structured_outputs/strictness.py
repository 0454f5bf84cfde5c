"""Schemas made strict: every declared property is required and no other is allowed.

`strictify` does it everywhere a schema may stand, also in lists (`anyOf`, `allOf`, `prefixItems`) and behind `$ref`.
An object that is put together from several parts is closed once, around all of them (`unevaluatedProperties`), for
closing each part would make it unsatisfiable. `strictify_published` repeats the public verifier, which walks
dictionary values only and takes every dictionary with a key `properties` for a schema.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

_ALTERNATIVES = ("anyOf", "oneOf")
_LISTS = ("allOf", *_ALTERNATIVES)
_CONSEQUENCES = ("then", "else")
_CHILDREN = ("items", "contains", "unevaluatedItems", "additionalProperties", "unevaluatedProperties")
_NAMED = ("properties", "patternProperties")
_DEFINITIONS = ("$defs", "definitions")


def strictify(schema: Any) -> Any:
    """A strict copy of a schema; ours. `not`, `if` and `propertyNames` keep their meaning and stay as they are."""
    root = copy.deepcopy(schema)
    if isinstance(root, dict):
        root.pop("$schema", None)
        _strict(root, root, joined=False)
    return root


def _strict(node: Any, root: dict[str, Any], *, joined: bool) -> None:
    """Make one schema strict; `joined` says that a schema around it closes the object."""
    if not isinstance(node, dict):
        return
    own = isinstance(node.get("properties"), dict)
    if own:
        node["required"] = list(node["properties"])
        node.pop("additionalProperties", None)
        node.setdefault("type", "object")
    elif "type" not in node and ("items" in node or "prefixItems" in node):
        node["type"] = "array"
    parts = [keyword for keyword in _contributing(node, root)]
    alone = len(parts) == 1 and parts[0] in _ALTERNATIVES
    if not joined and parts and not alone:
        if parts == ["properties"]:
            node["additionalProperties"] = False
        else:
            node.pop("additionalProperties", None)
            node["unevaluatedProperties"] = False
    inner = joined or (parts not in ([], ["properties"]) and not alone)
    for branch in _branches(node):
        _strict(branch, root, joined=inner)
    for child in _children(node):
        _strict(child, root, joined=False)
    for keyword in _DEFINITIONS:
        for definition in _values(node, keyword):
            _strict(definition, root, joined=True)


def _contributing(node: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    """Keywords of a schema that name properties of the object it describes."""
    if isinstance(node.get("properties"), dict):
        yield "properties"
    target = resolve(node.get("$ref"), root)
    if target is not None and target is not node and _names_properties(target, root, {id(node)}):
        yield "$ref"
    for keyword in _LISTS:
        branches = node.get(keyword)
        if isinstance(branches, list) and any(_names_properties(branch, root, {id(node)}) for branch in branches):
            yield keyword
    for keyword in _CONSEQUENCES:
        if _names_properties(node.get(keyword), root, {id(node)}):
            yield keyword
    if any(_names_properties(branch, root, {id(node)}) for branch in _values(node, "dependentSchemas")):
        yield "dependentSchemas"


def _names_properties(node: Any, root: dict[str, Any], seen: set[int]) -> bool:
    if not isinstance(node, dict) or id(node) in seen:
        return False
    if isinstance(node.get("properties"), dict):
        return True
    inside = seen | {id(node)}
    parts = [*_branches(node), resolve(node.get("$ref"), root)]
    return any(_names_properties(part, root, inside) for part in parts)


def _branches(node: dict[str, Any]) -> Iterator[Any]:
    """Schemas that describe the same value as `node`."""
    for keyword in _LISTS:
        if isinstance(node.get(keyword), list):
            yield from node[keyword]
    for keyword in _CONSEQUENCES:
        yield node.get(keyword)
    yield from _values(node, "dependentSchemas")


def _children(node: dict[str, Any]) -> Iterator[Any]:
    """Schemas that describe values inside the one `node` describes."""
    for keyword in _CHILDREN:
        yield node.get(keyword)
    if isinstance(node.get("prefixItems"), list):
        yield from node["prefixItems"]
    for keyword in _NAMED:
        yield from _values(node, keyword)


def _values(node: dict[str, Any], keyword: str) -> Iterator[Any]:
    named = node.get(keyword)
    if isinstance(named, dict):
        yield from named.values()


def resolve(reference: Any, root: Any) -> Any:
    """The schema a local `$ref` (`#/…`) points to, or None. Nothing is ever fetched."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    target = root
    for part in reference[1:].split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(target, dict) or part not in target:
            return None
        target = target[part]
    return target


def strictify_published(schema: Any) -> None:
    """The public verifier's change, in place: lists are not entered, and anything called `properties` counts.

    Raises whatever the public one raises on a `properties` that cannot be listed (TypeError).
    """
    if isinstance(schema, dict):
        if "properties" in schema:
            schema["required"] = list(schema["properties"])
            schema["additionalProperties"] = False
        for value in schema.values():
            strictify_published(value)
