"""What is refused without asking anybody, and what is not."""

from __future__ import annotations

import pytest

from gym_core.judge.gates import OPENINGS, gate


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\t\u3000", "empty"),
        (":", "punctuation"),
        (".", "punctuation"),
        (",", "punctuation"),
        ("...!?", "punctuation"),
        ("\u200b", "punctuation"),
        ("`" * 5000, "punctuation"),
        ("Solution", "opening"),
        ("**Solution:**", "opening"),
        ("Thought process:", "opening"),
        ("THOUGHT PROCESS", "opening"),
        ("Ｓｏｌｕｔｉｏｎ：", "opening"),
        ("Let's solve this problem step by step.", "opening"),
        ("Let’s solve this problem step by step", "opening"),
        ("解", "opening"),
        ("かいせつ", "opening"),
        ("Respuesta", "opening"),
        ("Final answer:", "opening"),
        ("I don't know.", "no answer"),
        ("N/A", "no answer"),
        ("[[A=B]]", "label"),
        ("[[A=B]] [[A=B]]!", "label"),
        ("[[A=B]] " * 1000, "label"),
        ("5", ""),
        ("+", ""),
        ("∞", ""),
        ("Solution: 5", ""),
        ("The answer is 7", ""),
        ("解 5", ""),
        ("yes", ""),
        ("None", ""),
        ("0", ""),
        ("x" * 5000, ""),
    ],
)
def test_gate(text: str, reason: str) -> None:
    assert gate(text, ("[[A=B]]", "[[A!=B]]")) == reason


def test_every_opening_is_written_as_texts_are_folded() -> None:
    assert all(gate(opening.upper() + " :") == "opening" for opening in OPENINGS)
