"""A generated reply taken apart: reasoning, answer and XML tool calls, as text, as token spans, as Responses items.

    [reasoning</think>] answer <tool_call>
    <function=NAME>
    <parameter=ARGUMENT>
    VALUE
    </parameter>
    </function>
    </tool_call>

Everything between think tags is reasoning, whatever it contains; tags inside a tool call belong to it. A block that
does not follow the grammar stays in the answer and is reported. Parsing is linear in the text and never raises.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from model.arguments import dumps, parameter_schemas, typed_arguments
from model.control_tokens import END_THINK, END_TOOL_CALL, THINK, TOOL_CALL

_OPENING = re.compile("<think>|<tool_call>")
_FUNCTION = re.compile(r"\s*<function=([^<>\n]+)>")
_PARAMETER = re.compile(r"\s*<parameter=([^<>\n]+)>\n?")
# A value may hold the text </parameter>: it ends where another parameter or the function's end follows.
_VALUE_END = re.compile(r"\n?</parameter>(?=\s*(?:<parameter=|</function>))")
_FUNCTION_END = re.compile(r"\s*</function>\s*")
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class ParsedToolCall:
    """One well-formed call: `arguments` is a JSON object as text, `raw` the block as generated, tags included."""

    name: str
    arguments: str
    raw: str


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """`content` is the answer without reasoning and well-formed calls; `malformed` says what was wrong with others."""

    reasoning: str
    content: str
    tool_calls: list[ParsedToolCall] = field(default_factory=list)
    malformed: list[str] = field(default_factory=list)


def parse_reply(text: str, thinking_open: bool, tools: Sequence[Mapping[str, Any]] | None = None) -> ParsedReply:
    """Take a reply's text apart. `thinking_open`: the prompt ended inside a think block (`Rendered.thinking_open`).

    With `tools` (flat or nested) argument values get the types their schema declares; otherwise all stay strings.
    """
    schemas = parameter_schemas(tools)
    reasoning: list[str] = []
    answer: list[str] = []
    calls: list[ParsedToolCall] = []
    malformed: list[str] = []
    for kind, part in _parts(text, thinking_open):
        if kind == "think":
            reasoning.append(part.removesuffix("\n"))
        elif kind == "answer":
            answer.append(part)
        else:
            call = _call(part, schemas)
            if isinstance(call, ParsedToolCall):
                calls.append(call)
            else:
                malformed.append(f"{call}: {part[:_SHOWN]!r}")
                answer.append(part)
    # Whitespace that only separated blocks goes; indentation at the start of an answer stays.
    content = "".join(part for part in answer if part.strip()).strip("\n")
    return ParsedReply("\n".join(filter(None, reasoning)), content, calls, malformed)


def reply_spans(token_ids: Sequence[int], thinking_open: bool = False) -> list[tuple[str, int, int]]:
    """(kind, start, end) of think, answer and tool_call, covering all tokens in order; tags belong to their span."""
    spans: list[tuple[str, int, int]] = []
    kind, start = ("think" if thinking_open else "answer"), 0
    closing = {"think": END_THINK, "tool_call": END_TOOL_CALL}
    opening = {THINK: "think", TOOL_CALL: "tool_call"}
    for i, token in enumerate(token_ids):
        if kind == "answer" and token in opening:
            spans.append((kind, start, i))
            kind, start = opening[token], i
        elif token == closing.get(kind):
            spans.append((kind, start, i + 1))
            kind, start = "answer", i + 1
    spans.append((kind, start, len(token_ids)))
    return [span for span in spans if span[1] < span[2]]


def output_items(parsed: ParsedReply, make_id: Callable[[str], str], status: str = "completed") -> list[dict[str, Any]]:
    """OpenAI Responses `output`: a reasoning item, a message, function calls; at least one item.

    `make_id` gets a prefix (`rs`, `msg`, `fc`, `call`) and returns a fresh id. `status` is `completed` or `incomplete`.
    """
    items: list[dict[str, Any]] = []
    if parsed.reasoning:
        summary = [{"type": "summary_text", "text": parsed.reasoning}]
        items.append({"type": "reasoning", "id": make_id("rs"), "summary": summary})
    if parsed.content or not (items or parsed.tool_calls):
        content = [{"type": "output_text", "text": parsed.content, "annotations": []}]
        message = {"type": "message", "id": make_id("msg"), "role": "assistant", "content": content}
        items.append({**message, "status": status})
    for call in parsed.tool_calls:
        ids = {"id": make_id("fc"), "call_id": make_id("call")}
        function = {"name": call.name, "arguments": call.arguments}
        items.append({"type": "function_call", **ids, **function, "status": status})
    return items


def _parts(text: str, thinking_open: bool) -> Iterator[tuple[str, str]]:
    """(kind, part): think without its tags, answer, tool_call with them. A block that never closes runs to the end."""
    position = 0
    if thinking_open:
        end, position = _closing(text, "</think>", 0)
        yield "think", _after_tag(text[:end])  # the prompt ended with the tag; some engines repeat it
    while opening := _OPENING.search(text, position):
        yield "answer", text[position : opening.start()]
        if opening[0] == "<think>":
            end, position = _closing(text, "</think>", opening.end())
            yield "think", _after_tag(text[opening.start() : end])
        else:
            _, position = _closing(text, "</tool_call>", opening.end())
            yield "tool_call", text[opening.start() : position]
    yield "answer", text[position:]


def _after_tag(thought: str) -> str:
    """What follows `<think>` and its line break; a thought without the tag is left as it is."""
    return thought.removeprefix("<think>").removeprefix("\n") if thought.startswith("<think>") else thought


def _closing(text: str, tag: str, start: int) -> tuple[int, int]:
    """Where the next `tag` begins and ends; the end of the text twice when there is none."""
    found = text.find(tag, start)
    return (len(text), len(text)) if found < 0 else (found, found + len(tag))


def _call(block: str, schemas: Mapping[str, Mapping[str, Any]]) -> ParsedToolCall | str:
    """The call in a `<tool_call>…</tool_call>` block, or what is wrong with it."""
    if not block.endswith("</tool_call>"):
        return "no </tool_call>"
    body = block[len("<tool_call>") : -len("</tool_call>")]
    function = _FUNCTION.match(body)
    name = function[1].strip() if function else ""
    if not function or not name:
        return "no <function=NAME> after <tool_call>"
    texts: dict[str, str] = {}
    position = function.end()
    while parameter := _PARAMETER.match(body, position):
        key = parameter[1].strip()
        end = _VALUE_END.search(body, parameter.end())
        if not end:
            return f"parameter {key} does not end with </parameter>"
        if key in texts:
            return f"parameter {key} is given twice"
        texts[key] = body[parameter.end() : end.start()]
        position = end.end()
    if not _FUNCTION_END.fullmatch(body, position):
        return "unexpected text where a parameter or </function> should be"
    return ParsedToolCall(name, dumps(typed_arguments(texts, schemas.get(name, {}))), block)
