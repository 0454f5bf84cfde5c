"""Attacks on structured outputs: an integer, a list of words, a colour out of two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gym_core.loading import load_file

arena = load_file(Path(__file__).resolve().parents[1] / "arena.py")

SCHEMA = {
    "type": "object",
    "properties": {
        "count": {"type": "integer", "minimum": 1},
        "words": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "colour": {"enum": ["red", "blue"]},
    },
}
RIGHT = {"count": 2, "words": ["a"], "colour": "red"}
GOOD = json.dumps(RIGHT)


def row(schema: Any = None, kind: str = "json", **more: Any) -> dict[str, Any]:
    text = schema if isinstance(schema, str) else json.dumps(SCHEMA if schema is None else schema)
    prompt = {"input": "Answer in the format asked for."}
    return {"responses_create_params": prompt, "schema_str": text, "schema_type": kind, **more}


JSON = {
    "a fence": f"```json\n{GOOD}\n```",
    "a fence without a name": f"```\n{GOOD}\n```",
    "prose before": f"Here it is: {GOOD}",
    "prose after": f"{GOOD} Done.",
    "two documents": f"{GOOD}\n{GOOD}",
    "a wrong one, then a right one": '{"count": 0}\n' + GOOD,
    "a byte order mark": "\ufeff" + GOOD,
    "a key twice": GOOD.replace('"count": 2', '"count": 2, "count": 3'),
    "a key twice, one escaped": GOOD.replace('"count": 2', '"count": 2, "\\u0063ount": 3'),
    "not a number": GOOD.replace("2", "NaN"),
    "infinity": GOOD.replace("2", "Infinity"),
    "out of range": GOOD.replace("2", "1e999"),
    "true for a number": GOOD.replace("2", "true"),
    "a number as text": GOOD.replace("2", '"2"'),
    "a fraction": GOOD.replace("2", "2.5"),
    "below the minimum": GOOD.replace("2", "0"),
    "an empty list": GOOD.replace('["a"]', "[]"),
    "null for a list": GOOD.replace('["a"]', "null"),
    "another colour": GOOD.replace("red", "green"),
    "all colours": GOOD.replace('"red"', '["red", "blue"]'),
    "a colour in capitals": GOOD.replace("red", "RED"),
    "a key missing": '{"count": 2, "words": ["a"]}',
    "a key more": GOOD.replace("}", ', "extra": 1}'),
    "a key with a blank": GOOD.replace('"count"', '"count "'),
    "a key in other letters": GOOD.replace('"count"', '"\u0441ount"'),
    "an empty object": "{}",
    "the schema": json.dumps(SCHEMA),
    "a list around it": f"[{GOOD}]",
    "text of it": json.dumps(GOOD),
    "under a key": json.dumps({"response": RIGHT}),
    "single quotes": str(RIGHT),
    "a trailing comma": GOOD.replace("}", ",}"),
    "a comment": GOOD.replace("{", "{/* ok */"),
    "yaml for json": "count: 2\nwords: [a]\ncolour: red\n",
    "a prototype": GOOD.replace("}", ', "__proto__": {}}'),
    "a reference": '{"$ref": "#"}',
    "more than its digits": GOOD.replace("2", "0x2"),
    "a plus": GOOD.replace("2", "+2"),
    "a nul in the text": GOOD + "\x00",
    "cut off": GOOD[:-1],
}
BOMBS = {
    "100,000 lists deep": "[" * 100_000 + "]" * 100_000,
    "2,000 objects deep": '{"a":' * 2000 + "1" + "}" * 2000,
    "a million digits": GOOD.replace("2", "2" * 1_000_000) + "x",
    "100,000 keys": "{" + ",".join(f'"k{n}": 1' for n in range(100_000)) + "}",
    "100,000 times one key": "{" + ",".join('"count": 1' for _ in range(100_000)) + "}",
}
YAML = {
    "aliases that multiply": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "a python object": "!!python/object/apply:os.system ['true']",
    "a yes for a word": "count: 2\nwords: [yes]\ncolour: red\n",
    "a date for a word": "count: 2\nwords: [2020-01-01]\ncolour: red\n",
    "two documents": "count: 2\nwords: [a]\ncolour: red\n---\ncount: 2\nwords: [a]\ncolour: red\n",
    "a merge key": "<<: {count: 2, words: [a], colour: red}\ncount: 0\n",
    "a key twice": "count: 1\ncount: 2\nwords: [a]\ncolour: red\n",
    "not a number": "count: .nan\nwords: [a]\ncolour: red\n",
    "a fence": "```yaml\ncount: 2\nwords: [a]\ncolour: red\n```",
    "brackets": "[" * 10_000,
    "indents": "".join(" " * n + "a:\n" for n in range(1500)),
}  # fmt: skip
XML = {
    "entities that multiply": '<!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;">]><r><count>&b;</count></r>',
    "a file": '<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><r><count>&x;</count></r>',
    "an address": '<!DOCTYPE l SYSTEM "http://127.0.0.1:9/x.dtd"><r><count>1</count></r>',
    "a fence": "```xml\n<r><count>2</count><words>a</words><colour>red</colour></r>\n```",
    "100,000 tags deep": "<a>" * 100_000 + "</a>" * 100_000,
    "nothing in it": "<r/>",
}
TOML = {
    "a key twice": 'count = 1\ncount = 2\nwords = ["a"]\ncolour = "red"',
    "not a number": 'count = nan\nwords = ["a"]\ncolour = "red"',
    "tables deep": "[" + ".".join(["a"] * 5000) + "]",
    "lists deep": "a = " + "[" * 5000 + "]" * 5000,
    "a fence": '```toml\ncount = 2\nwords = ["a"]\ncolour = "red"\n```',
}
ANY_OF = {"anyOf": [{"type": "object", "properties": {"a": {"type": "integer"}}}]}
DEFS = {
    "type": "object",
    "properties": {"p": {"$ref": "#/$defs/p"}},
    "$defs": {"p": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}
REDOS = {"type": "object", "properties": {"s": {"type": "string", "pattern": "^(a+)+$"}}}
REMOTE = {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}}
CALL = row(response_mode="tool_call", tool_name="submit", tool_payload_key="data")


def call(name: str = "submit", arguments: str = json.dumps({"data": RIGHT})) -> dict[str, Any]:
    return {"type": "function_call", "name": name, "arguments": arguments, "call_id": "c"}


CALLS: dict[str, Any] = {
    "no call": GOOD,
    "the call in words": json.dumps({"name": "submit", "arguments": {"data": RIGHT}}),
    "two calls": [call(), call()],
    "another tool": [call("final")],
    "another key": [call(arguments=json.dumps({"payload": RIGHT}))],
    "no key": [call(arguments=GOOD)],
    "a key more": [call(arguments=json.dumps({"data": RIGHT, "x": 1}))],
    "text for an object": [call(arguments=json.dumps({"data": GOOD}))],
    "arguments that are no JSON": [call(arguments="{")],
    "arguments deep": [call(arguments='{"data":' * 5000)],
    "a key twice": [call(arguments=f'{{"data": {GOOD}, "data": {GOOD}}}')],
}


def attacks() -> list[Any]:
    return [
        *arena.texts(row(), JSON),
        *arena.texts(row(), BOMBS, bomb=True),
        *(arena.Attack(name=f"yaml: {name}", row=row(kind="yaml"), output=said) for name, said in YAML.items()),
        *(arena.Attack(name=f"xml: {name}", row=row(kind="xml"), output=said) for name, said in XML.items()),
        *(arena.Attack(name=f"toml: {name}", row=row(kind="toml"), output=said) for name, said in TOML.items()),
        *(arena.Attack(name=f"call: {name}", row=CALL, output=said) for name, said in CALLS.items()),
        arena.Attack(name="a key nobody asked for in a branch", row=row(ANY_OF), output='{"zzz": 1}'),
        arena.Attack(name="nothing in a branch", row=row(ANY_OF), output="{}"),
        arena.Attack(name="nothing in a definition", row=row(DEFS), output='{"p": {}}'),
        arena.Attack(name="a schema without a kind", row=row({"properties": {"a": {}}}), output='"hello"'),
        arena.Attack(
            name="a pattern that backtracks", row=row(REDOS), output=json.dumps({"s": "a" * 60 + "!"}), bomb=True
        ),
        arena.Attack(name="a schema from the network", row=row(REMOTE), output='{"a": 1}', refused="schema_str"),
        arena.Attack(name="no schema", row=row("{"), output="{}", refused="schema_str"),
        arena.Attack(name="another format", row=row(kind="ini"), output="a=1", refused="schema_type"),
        arena.Attack(name="the plain answer", row=row(), output=GOOD, worth=1.0),
        arena.Attack(name="blanks around it", row=row(), output=f"\n {GOOD} \n", worth=1.0),
    ]
