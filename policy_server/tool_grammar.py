"""A Lark grammar of the tools' XML call format, for replies that have to be calls.

    <tool_call>
    <function=NAME>
    <parameter=ARGUMENT>
    VALUE
    </parameter>
    </function>
    </tool_call>

An argument whose schema allows text is written as it is, up to the tag that ends it, as far as `argument_text` finds
no bounds for it; any other is JSON of its schema.
Arguments come in the order in which the schema declares them, the required ones always, the others as the policy wants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from model.arguments import typed_value
from model.control_tokens import END_TOOL_CALL, TOOL_CALL
from policy_server.argument_text import Literal, Text, forms
from policy_server.grammar import json_rule

_CLOSING = "\n</parameter>\n"
_DEFINITIONS = ("$defs", "definitions")
_PROBES = ("null", "true", "1", "1.5", "[]", "{}")


def tool_grammar(tools: Sequence[Mapping[str, Any]], many: bool) -> str:
    """The grammar of a reply that is one call of one of these tools (nested or flat), or one call after another."""
    functions = [tool.get("function", tool) for tool in tools]
    more = '("\\n" call)*' if many else ""
    rules = [
        f"start: LEAD? call {more}",
        "LEAD: /\\n{1,2}/",
        f'call: <[{TOOL_CALL}]> "\\n" any "\\n" <[{END_TOOL_CALL}]>',
    ]
    rules.append("any: " + " | ".join(f"f{number}" for number in range(len(functions))))
    for number, function in enumerate(functions):
        rules += _function(f"f{number}", function["name"], function.get("parameters") or {})
    return "\n".join(rules) + "\n"


def _function(rule: str, name: str, schema: Mapping[str, Any]) -> list[str]:
    properties, required = schema.get("properties"), schema.get("required")
    fields = properties if isinstance(properties, Mapping) else {}
    always = required if isinstance(required, list) else []
    uses: list[str] = []
    rules: list[str] = []
    for number, (key, field) in enumerate(fields.items()):
        own = f"{rule}_{number}"
        uses.append(own if key in always else f"{own}?")
        rules += _parameter(own, key, field, schema)
    body = " ".join([_quoted(f"<function={name}>\n"), *uses, _quoted("</function>")])
    return [f"{rule}: {body}", *rules]


def _parameter(rule: str, key: str, field: Any, root: Mapping[str, Any]) -> list[str]:
    opening, closing = _quoted(f"<parameter={key}>\n"), _quoted(_CLOSING)
    if _is_json(field, root):
        return [f"{rule}: {opening} {rule}v {closing}", _json(f"{rule}v", field, root)]
    left = forms(field, root)
    if left is None:
        return [f"{rule}: {opening} {rule}v", f"{rule}v[suffix={closing}]: /(?s:.*)/"]
    uses: list[str] = []
    rules: list[str] = []
    for number, form in enumerate(left):
        own = f"{rule}v{number}"
        if isinstance(form, Literal):
            uses.append(f"{_quoted(form.text)} {closing}" if form.text else closing)
        elif isinstance(form, Text):
            uses.append(own)
            rules.append(f"{own}[suffix={closing}]: {form.terminal}")
        else:
            uses.append(f"{own} {closing}")
            rules.append(_json(own, form.schema, root))
    return [f"{rule}: {opening} ({' | '.join(uses)})", *rules]


def _json(rule: str, schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    held = {**schema, **{name: root[name] for name in _DEFINITIONS if name in root}}
    return f"{rule}: {json_rule(held)}"


def _is_json(field: Any, root: Mapping[str, Any]) -> bool:
    """Whether the parser wants JSON here: the schema names types, and text is none of them."""
    if not isinstance(field, Mapping):
        return False
    typed = any(not isinstance(typed_value(probe, field, root), str) for probe in _PROBES)
    # where text is allowed too, only JSON's own spelling of null counts as null
    nullable = {**field, "anyOf": [*_list(field.get("anyOf")), {"type": "null"}]}
    return typed and typed_value("NONE", nullable, root) is None


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else []


def _quoted(text: str) -> str:
    """A Lark string; JSON's escapes are Lark's."""
    return msgspec.json.encode(text).decode()
