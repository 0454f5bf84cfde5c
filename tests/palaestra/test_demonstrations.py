"""Demonstrations: what a demonstrator does, how it slips, and that its tokens are those of a rollout."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from gym_core.environment import Call, Environment, Script
from gym_core.registry import Registry
from model import chat
from model.responses import tools_from_responses
from model.tokenizer import Tokenizer
from palaestra.demonstrations import (
    GIVING_UP,
    SLIPS,
    conversation,
    corpus,
    demonstrate,
    stop_early,
    tokenise,
    write,
)


@pytest.fixture(scope="module")
def ledger() -> Environment:
    return Registry.discover().load("ledger").cls()


def test_without_errors_every_demonstration_is_the_oracle_s(ledger: Environment) -> None:
    for played in demonstrate(ledger, seed=1, level=0, tasks=20, error_rate=0.0):
        assert played.slip == ""
        script = ledger.oracle(played.task)
        assert isinstance(script, Script)
        calls = [item for item in played.output if item["type"] == "function_call"]
        assert [(c["name"], msgspec.json.decode(c["arguments"])) for c in calls] == [
            (call.name, call.arguments) for call in script.calls
        ]


def test_slips_come_at_the_stated_rate_and_all_kinds_alike(ledger: Environment) -> None:
    played = list(demonstrate(ledger, seed=1, level=0, tasks=900, error_rate=0.5))
    counts = Counter(one.slip for one in played)
    assert 0.44 < 1 - counts[""] / 900 < 0.56
    assert all(100 < counts[slip] < 200 for slip in SLIPS)
    gave_up = next(one for one in played if one.slip == "gives_up")
    assert gave_up.output[-1]["content"][0]["text"] == GIVING_UP


def test_the_same_seed_plays_the_same(ledger: Environment) -> None:
    first, second = (list(demonstrate(ledger, seed=2, level=1, tasks=10, error_rate=0.5)) for _ in range(2))
    assert [one.output for one in first] == [one.output for one in second]
    assert [one.slip for one in first] == [one.slip for one in second]


def test_stopping_early_leaves_the_last_call_out_or_cuts_the_reply() -> None:
    draw = random.Random(0)
    with_calls = Script((Call("a"), Call("b")), "done")
    assert stop_early(with_calls, draw) == Script((Call("a"),), "done")
    for _ in range(20):
        cut = stop_early(Script(reply="it is stone"), draw).reply
        assert "it is stone".startswith(cut) and cut != "it is stone" and cut
    assert stop_early(Script(reply="stone"), draw).reply == ""


def test_tokens_are_the_rendered_conversation_and_the_mask_is_the_policy_s_part(ledger: Environment) -> None:
    played = list(demonstrate(ledger, seed=3, level=1, tasks=8, error_rate=0.0))
    tokenizer = Tokenizer.train(corpus(played), 600)
    for one in played:
        ids, mask = tokenise(one, tokenizer)
        assert len(ids) == len(mask)
        tools = tools_from_responses(one.task.tools)
        whole = chat.render(conversation(one), tools, enable_thinking=False, add_generation_prompt=False)
        assert tokenizer.decode(ids) == whole.text.removesuffix("\n")
        said = tokenizer.decode([token for token, on in zip(ids, mask, strict=True) if on])
        assert said.count("<tool_call>") == 2 and said.endswith("done<|im_end|>")
        assert "<tool_response>" not in said


def test_a_file_counts_what_it_holds(ledger: Environment, tmp_path: Path) -> None:
    played = list(demonstrate(ledger, seed=4, level=0, tasks=30, error_rate=0.5))
    path = tmp_path / "demonstrations.jsonl"
    counts = write(path, played, Tokenizer.train(corpus(played), 500))["ledger"]
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    assert counts["demonstrations"] == len(lines) == 30
    assert counts["tokens"] == sum(len(line["token_ids"]) for line in lines)
    assert sum(counts.get(slip, 0) for slip in SLIPS) == sum(bool(one.slip) for one in played)
    assert all(any(line["loss_mask"]) for line in lines)
