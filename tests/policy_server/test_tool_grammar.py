from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from model.parsers import parse_reply
from model.tokenizer import Tokenizer
from policy_server.grammar import Constraint, Grammars
from policy_server.tool_grammar import tool_grammar

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "write",
        "parameters": {
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "size": {"type": ["integer", "null"]},
                "mode": {"enum": ["a", "b\n"]},
                "any": {},
                "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                "when": {"type": "object", "properties": {"at": {"$ref": "#/$defs/T"}}, "required": ["at"]},
            },
            "required": ["path"],
            "$defs": {"T": {"type": "number"}},
        },
    },
}
PLAIN = {"name": "stop", "parameters": None}


def call(name: str, **arguments: str) -> str:
    inner = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in arguments.items())
    return f"<tool_call>\n<function={name}>\n{inner}</function>\n</tool_call>"


async def accepts(tokenizer: Tokenizer, text: str, *, many: bool = True) -> bool:
    matcher = await Grammars(tokenizer).compile(Constraint("lark", tool_grammar([TOOL, PLAIN], many), "tool_choice"))
    one, allowed = matcher.begin(), np.zeros(tokenizer.vocab_size + 5, np.bool_)
    for token in [*tokenizer.encode(text), 11]:  # <|im_end|>
        one.fill(allowed)
        assert not allowed[tokenizer.vocab_size :].any()
        if not allowed[token]:
            return False
        one.push(token)
    return True


@pytest.mark.parametrize(
    "text",
    [
        call("write", path="a b"),
        call("write", path=""),
        call("write", path="x</parameter>\n<tool> </function>", size="null"),
        call("write", path="naïve\n\n✓", size="3", mode="b\n", any="free text", either="7", when='{"at": 1.5}'),
        call("stop"),
        "\n\n" + call("stop") + "\n" + call("write", path="x"),
    ],
)
async def test_what_the_parser_reads_is_accepted(tokenizer: Tokenizer, text: str) -> None:
    assert await accepts(tokenizer, text)
    parsed = parse_reply(text, False, [TOOL])
    assert not parsed.malformed
    if "when" in text:
        assert json.loads(parsed.tool_calls[0].arguments)["when"] == {"at": 1.5}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sure! " + call("stop"),
        call("other"),
        call("write"),
        call("write", path="x", size="big"),
        call("write", path="x", mode="c"),
        call("write", path="x", when='{"at": "noon"}'),
        call("write", path="x", unknown="1"),
        call("stop") + " and then?",
    ],
)
async def test_anything_else_is_not(tokenizer: Tokenizer, text: str) -> None:
    assert not await accepts(tokenizer, text)


async def test_one_call_where_one_is_wanted(tokenizer: Tokenizer) -> None:
    assert await accepts(tokenizer, call("stop"), many=False)
    assert not await accepts(tokenizer, call("stop") + "\n" + call("stop"), many=False)
