"""The environment without its sandbox, with a weak one, and the programs it takes from replies."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.code_tests.environment import Code
from environments.code_tests.extraction import extract_code
from environments.code_tests.grading import breaks_format
from gym_core.generate import make_tasks
from gym_core.host import Host
from gym_core.reply import read_reply, text_output
from gym_core.sandbox import choose
from gym_core.sandbox.faults import SandboxUnavailable


def test_without_a_sandbox_tasks_are_served_and_verdicts_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "PROVIDERS", {"plain": choose.PROVIDERS["plain"]})
    monkeypatch.delenv(choose.WEAK_VARIABLE, raising=False)
    monkeypatch.delenv(choose.VARIABLE, raising=False)
    environment = Code()
    environment.warm()
    (task,) = make_tasks(environment, seed=1, level=0, count=1)
    with pytest.raises(SandboxUnavailable, match="too weak"):
        asyncio.run(Host(environment).grade(task, None, text_output(environment.oracle(task))))


def test_a_weak_sandbox_is_named_in_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choose.VARIABLE, "plain")
    environment = Code()
    (task,) = make_tasks(environment, seed=1, level=0, count=1)
    verdict = asyncio.run(Host(environment).grade(task, None, text_output(environment.oracle(task))))
    environment.sandbox().close()
    assert verdict.gradings == {"strict": 1.0, "published": 1.0}
    assert (verdict.details["sandbox"], verdict.details["sandbox_strong"]) == ("plain", False)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python\na\n```", "a"),
        ("```python\na\n```\n```\nb\nc\n```\n", "b\nc"),
        ("```\na\n```\n```", ""),
        ("  ```py\n a\n  ``` end", " a"),
        ("```a```", ""),
        ("a", ""),
        ("", ""),
    ],
)
def test_the_program_stands_between_the_last_two_fences(text: str, code: str) -> None:
    assert extract_code(text) == code


@given(st.text())
def test_any_reply_has_a_program_or_none(text: str) -> None:
    assert extract_code(text) in text


def test_think_tags_break_the_published_format() -> None:
    def reply(text: str, *reasoning: str) -> bool:
        summary = [{"type": "summary_text", "text": part} for part in reasoning]
        return breaks_format(read_reply([{"type": "reasoning", "summary": summary}, *text_output(text)]))

    assert not reply("plain", "<think>once</think>")
    assert reply("a <think> b") and reply("a </think> b")
    assert reply("plain", "<think>", "<think>") and reply("plain", "</think></think>")
