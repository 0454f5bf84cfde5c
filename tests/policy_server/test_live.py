"""What a stream shows of a reply before it is whole: never more than the parser will find in it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.parsers import parse_reply
from policy_server.live import LiveReply

CALL = "<tool_call>\n<function=f>\n<parameter=x>\n1\n</parameter>\n</function>\n</tool_call>"
PIECES = st.sampled_from(
    [
        "<think>", "</think>", "<tool_call>", "</tool_call>", "<function=f>\n</function>", CALL, "\n", "\n\n", " ",
        "a", "b c", "é", "<", "</", "<t", "hink>", "tool_call>",
    ]
)  # fmt: skip


def shown(text: str, thinking_open: bool, size: int) -> tuple[dict[str, str], LiveReply]:
    """All that is shown of a text that comes in pieces of this size."""
    live, told = LiveReply(thinking_open), {"think": "", "answer": ""}
    for at in range(0, len(text), size):
        for kind, piece in live.push(text[at : at + size]):
            assert piece
            told[kind] += piece
    assert live.num_shown == {kind: len(piece) for kind, piece in told.items()}
    return told, live


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=14).map("".join), st.booleans(), st.integers(1, 9))
def test_what_is_shown_is_where_the_parsed_reply_begins(text: str, thinking_open: bool, size: int) -> None:
    told, _ = shown(text, thinking_open, size)
    parsed = parse_reply(text, thinking_open)
    assert parsed.reasoning.startswith(told["think"])
    assert parsed.content.startswith(told["answer"])


@pytest.mark.parametrize(
    ("text", "thinking_open", "think", "answer"),
    [
        ("first\nsecond", True, "first\nsecond", ""),
        ("a thought\n</think>\n\nthe answer", True, "a thought", "the answer"),
        ("<think>\nsaid again</think>so", True, "said again", "so"),
        ("a</think>b<think>c</think>d", True, "a\nc", "bd"),
        ("1 < 2", False, "", "1 < 2"),
        ("so far <tool_c", False, "", "so far "),
        (f"before\n{CALL}\nafter", False, "", "before\n\nafter"),
        ("x <tool_call>nonsense</tool_call> y", False, "", "x <tool_call>nonsense</tool_call> y"),
        ("  ", False, "", ""),
    ],
)
def test_everything_that_is_certain_is_shown(text: str, thinking_open: bool, think: str, answer: str) -> None:
    for size in (1, 3, len(text)):
        assert shown(text, thinking_open, size)[0] == {"think": think, "answer": answer}


def test_a_long_thought_is_shown_as_it_comes() -> None:
    live = LiveReply(thinking_open=True)
    assert [live.push(f"word{i} ") for i in range(50)] == [[("think", f"word{i} ")] for i in range(50)]
