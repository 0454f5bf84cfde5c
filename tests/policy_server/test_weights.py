"""POST /weights over the real model: what fits is served, what does not leaves everything as it was."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from gym_core.client import Client
from gym_core.errors import BadRequest, Conflict
from gym_core.tokens import FRAME_TYPE, decode_trace, pack_frame
from model import checkpoint
from model.stack import HybridModel
from policy_server.engine import Engine

PROMPT = {"prompt": [40, 41, 42], "max_tokens": 8, "seed": 1, "ignore_eos": True, "return_token_ids": True}
FRAME = pack_frame(b'{"request": {"input": "hi", "max_output_tokens": 20, "ignore_eos": true}}')
Tensors = dict[str, torch.Tensor]


@pytest.fixture
def tensors(hybrid: HybridModel) -> Tensors:
    """Other weights for the served model."""
    other = HybridModel(hybrid.config, seed=9)
    return {name: tensor.clone().contiguous() for name, tensor in checkpoint.state_tensors(other)}


def publication(folder: Path, tensors: Tensors, version: int = 1) -> dict[str, Any]:
    save_file(tensors, folder / "model.safetensors")
    return {"path": str(folder), "version": version, "checksums": checkpoint.checksum(tensors.items())}


async def test_new_weights_are_served(hybrid_client: Client, tensors: Tensors, tmp_path: Path) -> None:
    before = await hybrid_client.post_json("/v1/completions", PROMPT)
    body = publication(tmp_path, tensors)
    reply = await hybrid_client.post_json("/weights", body)
    assert set(reply.pop("seconds")) == {"read", "switch"}
    assert reply == {"version": 1, "checksums": body["checksums"]}
    assert (await hybrid_client.get_json("/version"))["version"] == 1
    after = await hybrid_client.post_json("/v1/completions", PROMPT)
    assert after["choices"][0]["token_ids"] != before["choices"][0]["token_ids"]
    assert after["choices"][0]["policy_version"] == 1


HOW = ["checksum", "no checksum of a tensor", "missing", "unknown", "shape", "old version"]


def damage(folder: Path, tensors: Tensors, how: str) -> dict[str, Any]:
    body, name = publication(folder, tensors), "backbone.norm_f.weight"
    if how == "checksum":
        body["checksums"][name] = "0" * 32
    elif how == "no checksum of a tensor":
        del body["checksums"][name]
    elif how == "missing":
        return publication(folder, {key: tensor for key, tensor in tensors.items() if key != name})
    elif how == "unknown":
        return publication(folder, tensors | {"another": torch.zeros(1)})
    elif how == "shape":
        return publication(folder, tensors | {name: torch.zeros(3)})
    elif how in ("nan", "inf", "-inf"):
        tensors[name][5] = float(how)
        return publication(folder, tensors)
    else:
        assert how == "old version"
        body["version"] = 0
    return body


@pytest.mark.parametrize("how", [*HOW, "nan", "inf", "-inf"])
async def test_weights_that_do_not_fit_are_refused_and_the_old_ones_stay(
    hybrid_client: Client, tensors: Tensors, tmp_path: Path, how: str
) -> None:
    before = await hybrid_client.post_json("/v1/completions", PROMPT)
    with pytest.raises(Conflict):
        await hybrid_client.post("/weights", damage(tmp_path, tensors, how))
    after = await hybrid_client.post_json("/v1/completions", PROMPT)
    assert after["choices"] == before["choices"]
    assert (await hybrid_client.get_json("/version"))["version"] == 0


@pytest.mark.parametrize("version", [-1, 1 << 31, 1 << 70])
async def test_a_version_that_no_token_can_carry_is_refused(
    hybrid_client: Client, tensors: Tensors, tmp_path: Path, version: int
) -> None:
    with pytest.raises(BadRequest) as caught:
        await hybrid_client.post("/weights", publication(tmp_path, tensors, version))
    assert caught.value.field == "version"
    assert (await hybrid_client.post_json("/v1/completions", PROMPT))["choices"]


async def test_of_two_publications_of_one_version_one_is_served(
    hybrid_client: Client, tensors: Tensors, tmp_path: Path
) -> None:
    bodies = []
    for number in range(2):
        (folder := tmp_path / str(number)).mkdir()
        bodies.append(publication(folder, {name: tensor + number for name, tensor in tensors.items()}))
    replies = await asyncio.gather(
        *(hybrid_client.post_json("/weights", body) for body in bodies), return_exceptions=True
    )
    [taken] = [reply for reply in replies if isinstance(reply, dict)]
    [refused] = [reply for reply in replies if isinstance(reply, Conflict)]
    assert refused.field == "version"
    audited = await hybrid_client.get_json("/weights/checksums")
    assert taken["checksums"] == bodies[replies.index(taken)]["checksums"]
    assert audited["version"] == 1


async def test_an_audit_tells_numbers_that_are_not_finite(hybrid_client: Client, hybrid: HybridModel) -> None:
    with torch.inference_mode():
        dict(checkpoint.state_tensors(hybrid))["backbone.norm_f.weight"][3] = float("nan")
    with pytest.raises(Conflict, match=r"norm_f\.weight has numbers that are not finite"):
        await hybrid_client.get_json("/weights/checksums")


@pytest.mark.parametrize("content", [None, b"not safetensors"])
async def test_a_path_without_weights_is_a_bad_request(
    hybrid_client: Client, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "model.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadRequest) as caught:
        await hybrid_client.post("/weights", {"path": str(file), "version": 1})
    assert caught.value.field == "path"


async def test_a_running_sample_goes_on_under_the_new_weights(
    hybrid_client: Client,
    hybrid_engine: Engine,
    hybrid: HybridModel,
    tensors: Tensors,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held, go = threading.Event(), threading.Event()
    decode, steps = hybrid.decode, []

    def hold(*arguments: Any) -> torch.Tensor:
        steps.append(1)
        if len(steps) == 4:
            held.set()
            assert go.wait(10)
        return decode(*arguments)

    monkeypatch.setattr(hybrid, "decode", hold)
    running = asyncio.create_task(hybrid_client.post("/v1/responses", FRAME, {"Content-Type": FRAME_TYPE}))
    assert await asyncio.to_thread(held.wait, 10)
    go_on = asyncio.create_task(hybrid_client.post_json("/weights", publication(tmp_path, tensors)))
    while not hybrid_engine.stats["commands"]:
        await asyncio.sleep(0.001)  # until the server has read the file and queued the exchange
    go.set()
    assert (await go_on)["version"] == 1
    trace = decode_trace((await running).frame()[1])
    versions = trace.versions[trace.loss_mask].tolist()
    # one token from the prefill, four from the steps begun before the exchange, the others after it
    assert versions == [0] * 5 + [1] * 15
