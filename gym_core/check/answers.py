"""What policies that know nothing say: junk, constants, echoes, guesses, near misses, and what breaks parsers.

Every one was met in a public verifier that paid for it, or crashed a grader.
"""

from __future__ import annotations

import random
import re
import string
from typing import Any

from gym_core.environment import Call, Script

JUNK = (
    "asdf qwer zxcv",
    "I do not know.",
    ":",
    "Solution",
    "Thought process: let me think step by step.",
    "As an AI language model I cannot help with that.",
    "!?#%&*",
    "null",
    "{}",
    "[]",
)
"""Words that answer nothing; the third to fifth are the ones that judges took for answers (arXiv 2507.08794)."""

CONSTANTS = (
    "0",
    "1",
    "2",
    "-1",
    "yes",
    "no",
    "true",
    "false",
    "A",
    "B",
    "none",
    "done",
    "\\boxed{0}",
    "\\boxed{1}",
    "\\boxed{}",
    "Answer: A",
    '{"answer": 0}',
    " ".join(map(str, range(200))),
    "A B C D E",
    "yes no true false",
)
"""One reply for every task; the last three list many answers at once."""

_WHOLE = re.compile(r"\d+")
_BOXED = re.compile(r"^\\boxed\{(.*)\}$", re.DOTALL)
_NUMBER = re.compile(r"[^\s\d]{0,3}\d[\d.,/:-]*[^\s\d]{0,3}")


def guess(draw: random.Random, prompt: str, tools: list[dict[str, Any]]) -> Script:
    """What a policy of random words and random calls does."""
    calls = []
    for _ in range(draw.randint(1, 3) if tools else 0):
        tool = draw.choice(tools)
        calls.append(Call(tool["name"], draw_value(draw, tool.get("parameters", {}), tool.get("parameters", {}))))
    words = prompt.split() or ["word"]
    reply = draw.choice(
        [
            str(draw.randint(0, 100)),
            draw.choice("ABCD"),
            draw.choice(words),
            " ".join(draw.choice(words) for _ in range(draw.randint(2, 12))),
            "".join(draw.choice(string.printable) for _ in range(draw.randint(1, 60))),
            f"\\boxed{{{draw.randint(0, 20)}}}",
        ]
    )
    return Script(tuple(calls), reply)


def draw_value(draw: random.Random, schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """A random value that fits a JSON schema of a tool, as far as types, enums and bounds go."""
    if "$ref" in schema:
        return draw_value(draw, root.get("$defs", {}).get(schema["$ref"].rpartition("/")[2], {}), root)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return draw_value(draw, draw.choice(schema[key]), root)
    if "enum" in schema:
        return draw.choice(schema["enum"])
    kind = schema.get("type")
    if kind == "integer":
        low = schema.get("minimum", 0)
        return draw.randint(low, max(low, min(schema.get("maximum", low + 99), low + 99)))
    if kind == "number":
        return round(draw.uniform(schema.get("minimum", 0.0), schema.get("maximum", 100.0)), 2)
    if kind == "boolean":
        return draw.random() < 0.5
    if kind == "null":
        return None
    if kind == "array":
        return [draw_value(draw, schema.get("items") or {}, root) for _ in range(draw.randint(0, 3))]
    if kind == "object":
        return {name: draw_value(draw, item, root) for name, item in schema.get("properties", {}).items()}
    return "".join(draw.choice(string.ascii_letters) for _ in range(draw.randint(1, 12)))


# Near misses -----------------------------------------------------------------------------------------------------


def nudged(script: Script) -> Script:
    """The oracle's script off by one: every number of its words and of its calls one more. Where there is none, the
    last letter is another one and the last call is left out."""
    calls = tuple(Call(call.name, _raised(call.arguments)) for call in script.calls)
    found = Script(calls, _more(script.reply))
    return found if found != script else Script(script.calls[:-1], _another_letter(script.reply))


def _raised(value: Any) -> Any:
    """The value with every number in it one more, those inside texts too."""
    if isinstance(value, dict):
        return {name: _raised(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_raised(item) for item in value]
    if isinstance(value, str):
        return _more(value)
    return value + 1 if isinstance(value, int | float) and not isinstance(value, bool) else value


def _more(text: str) -> str:
    return _WHOLE.sub(lambda found: str(int(found[0]) + 1) if len(found[0]) < 300 else "1", text)


def exact(script: Script) -> bool:
    """Whether the answer is one number: then a near miss is wrong. Of sentences and documents many are right."""
    words = _BOXED.sub(r"\1", script.reply.strip())
    return len(words) <= 40 and bool(_NUMBER.fullmatch(words))


def cut(script: Script) -> Script:
    """Half of the oracle's words, half of its calls."""
    return Script(script.calls[: len(script.calls) // 2], script.reply[: len(script.reply) // 2])


def hedged(script: Script, other: Script) -> Script:
    """The right words and the wrong ones, without the calls."""
    return Script((), f"{script.reply} or {other.reply}")


def _another_letter(text: str) -> str:
    for number in range(len(text) - 1, -1, -1):
        if text[number].isalpha():
            return text[:number] + ("q" if text[number] != "q" else "z") + text[number + 1 :]
    return text + "q"


# What breaks parsers ---------------------------------------------------------------------------------------------

SAY = "message"


def hostile_texts(draw: random.Random) -> list[tuple[str, str]]:
    """(what it is, text): unicode, control characters, depth, length, numbers that overflow."""
    anything = "".join(chr(draw.choice([*range(1, 0xD800), *range(0xE000, 0x11000)])) for _ in range(200))
    return [
        ("spaces", " \t\n\r\u00a0\u2003"),
        ("random unicode", anything),
        ("control characters", "".join(map(chr, range(32))) + "\x7f\u200b\u202e\ufeff"),
        ("emoji joined", "👩‍👩‍👧‍👦" * 300),
        ("combining marks", "a" + "\u0301" * 5000),
        ("full-width and Arabic digits", "１２ ٣٤ ⅷ ²"),
        ("most of a megabyte", "lorem ipsum " * 75_000),
        ("a long word", "a" * 200_000 + "!"),
        ("a long number", "9" * 20_000),
        ("a tower of powers", "\\boxed{9^{9^{9^{9^9}}}}"),
        ("deep braces", "\\boxed{" * 5000 + "1" + "}" * 5000),
        ("deep brackets", "[" * 20_000),
        ("deep objects", '{"a":' * 5000 + "1" + "}" * 5000),
        ("deep parentheses", "(" * 5000 + "1" + ")" * 5000),
        ("deep tags", "<a>" * 5000),
        ("odd numbers", "NaN Infinity -Infinity 1e999 -0 0x1F 1_000 1/0"),
        ("a division by zero", "\\boxed{\\frac{1}{0}}"),
        ("many lines", "x\n" * 50_000),
        ("format strings", "%s%s%n {0} {__class__} ${HOME} $(id) `id`"),
        ("code", "__import__('os').abort()"),
        ("quotes", "\"\"\"'''```" * 500),
        ("unclosed thinking", "<think>" * 2000),
        ("a template", "{{ 7*7 }} {% for x in y %} <|im_end|> <|im_start|>user"),
    ]


def hostile_items() -> list[tuple[str, list[Any]]]:
    """(what it is, `output` items): calls, broken messages, kinds that nobody knows."""
    call = {"type": "function_call", "call_id": "c", "name": "verify", "arguments": "{}"}
    return [
        ("no items", []),
        ("an empty item", [{}]),
        ("a call and no words", [call]),
        ("a call without arguments", [{"type": "function_call", "name": None, "call_id": 3}]),
        ("arguments that are no JSON", [{**call, "arguments": "{" * 2000}]),
        ("arguments that are an object", [{**call, "arguments": {"a": 1}}]),
        ("an output of no call", [{"type": "function_call_output", "call_id": "zzz", "output": "12"}]),
        ("an unknown kind", [{"type": "hologram", "content": "12"}]),
        ("content that is null", [{"type": SAY, "role": "assistant", "content": None}]),
        ("content that is a number", [{"type": SAY, "role": "assistant", "content": 12}]),
        (
            "parts that are no parts",
            [{"type": SAY, "role": "assistant", "content": [1, None, {"type": "output_text"}]}],
        ),
        ("words of another role", [{"type": SAY, "role": "user", "content": "12"}]),
        ("reasoning alone", [{"type": "reasoning", "summary": [], "content": [{"type": "text", "text": "12"}]}]),
        ("many messages", [{"type": SAY, "role": "assistant", "content": "12"}] * 500),
    ]
