"""What a server keeps of requests that nobody will ever ask again: nothing, beyond bounds that are counted in bytes.

Counted are Python's allocated blocks (`sys.getallocatedblocks`), which no other process and no busy machine changes.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from gym_core.client import Client
from model.checkpoint_read import read_files
from model.tokenizer import Tokenizer
from policy_server import grammar, prompts
from policy_server.grammar import Constraint, Grammars
from policy_server.prompts import Conversation, Prompts
from policy_server.vllm_plugin.palaestra_vllm.files import tensors_of
from policy_server.weights import read_weights


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that they are full after a few requests."""
    monkeypatch.setattr(prompts, "_TEXTS_BYTES", 16 << 10)
    monkeypatch.setattr(prompts, "_OPENINGS_BYTES", 16 << 10)


def blocks() -> int:
    gc.collect()
    return sys.getallocatedblocks()


def chat(number: int) -> dict[str, Any]:
    content = f"What is {number} + {number + 1}? And {number * 7}?"
    return {"messages": [{"role": "user", "content": content}], "max_tokens": 1, "seed": number}


def responses(number: int) -> dict[str, Any]:
    return {"input": f"What is {number} + {number + 1}? And {number * 7}?", "max_output_tokens": 1, "seed": number}


def held(number: int) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    return chat(number) | {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}


def raw(number: int) -> dict[str, Any]:
    text = f"{number} + {number + 1} = "
    return {"prompt": [text, text + "?"], "max_tokens": 1, "n": 2, "echo": True, "logprobs": 1, "seed": number}


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/v1/chat/completions", chat),
        ("/v1/responses", responses),
        ("/v1/chat/completions", held),
        ("/v1/completions", raw),
    ],
    ids=["chat", "responses", "grammar", "raw"],
)
async def test_requests_that_never_come_again_leave_nothing(
    client: Client, model: Any, route: str, body: Callable[[int], dict[str, Any]]
) -> None:
    async def ask(numbers: range) -> None:
        for number in numbers:
            await client.post_json(route, body(number))
        model.prefills.clear()  # the fake remembers them all

    await ask(range(1000, 1150))
    before = blocks()
    await ask(range(1150, 1300))
    assert blocks() - before < 600  # ids kept for every text that came were 8 blocks a request, 1,200


def test_prompts_take_no_more_than_their_bounds(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "_TEXTS_BYTES", 40_000)
    monkeypatch.setattr(prompts, "_OPENINGS_BYTES", 50_000)
    made = Prompts(tokenizer)
    for number in range(300):
        made.build(Conversation(messages=[{"role": "user", "content": f"{number} " * (number % 50)}]))
    assert 20_000 < made._texts.num_bytes <= 40_000
    assert 25_000 < made._openings.num_bytes <= 50_000


async def test_grammars_take_the_room_of_their_schemas(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llguidance")
    monkeypatch.setattr(grammar, "_KEPT_BYTES", 4 << 20)
    made = Grammars(tokenizer)

    def choice(number: int, count: int) -> Constraint:
        return Constraint("regex", "|".join(f"w{number}x{each}" for each in range(count)), "structured_outputs.regex")

    small = [choice(number, 2) for number in range(4)]
    kept = [await made.compile(each) for each in small]
    assert [await made.compile(each) for each in small] == kept
    for number in range(3):
        await made.compile(choice(number, 3000))  # 25,000 characters: more than a megabyte each
    assert made._kept.find(small[0]) is None
    assert made._kept.num_bytes <= 4 << 20


@pytest.mark.parametrize(
    "read",
    [read_weights, lambda path: read_files([path]), lambda path: dict(tensors_of(path))],
    ids=["served", "read", "mapped for vLLM"],
)
def test_reading_weights_again_and_again_leaves_nothing(read: Callable[[Path], object], tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({f"layer.{number}": torch.zeros(300, 400) for number in range(20)}, file)
    for _ in range(3):
        read(file)
    before = blocks()
    for _ in range(25):
        read(file)
    assert blocks() - before < 100  # a number kept of each shape was 1,000
