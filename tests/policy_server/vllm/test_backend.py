"""The protocol, against a fake that answers as vLLM 0.32 does, in the shapes of replies recorded from it."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from aiohttp import web
from safetensors.torch import save_file

from gym_core.errors import BadRequest, Busy, Conflict, PolicyFault, Unavailable
from gym_core.serve import Served, start
from model import checkpoint
from model.control_tokens import END_THINK
from model.stack import HybridModel
from model.tokenizer import Tokenizer
from policy_server.config import PolicyConfig
from policy_server.constraints import guided_constraint
from policy_server.requests import FORCED, SAMPLED, STEERED, Delta, GenerateRequest
from policy_server.vllm.backend import VllmBackend
from policy_server.vllm.launch import open_vllm, served_version


class FakeVllm:
    """vLLM's routes. `fail` names one that answers 500; `checksums` is what its worker reads back."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.choices: list[dict[str, Any]] = [choice(0, [50, 51], [("default", 0, 2)])]
        self.fail, self.checksums, self.prompt_logprobs = "", dict[str, str](), None
        self.hold: asyncio.Event | None = None
        self.app = web.Application()
        self.app.router.add_get("/weight_info", self._info)
        self.app.router.add_post("/{path:.*}", self._post)

    async def _info(self, _: web.Request) -> web.Response:
        return web.json_response({"weight_version": "default"})

    async def _post(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read() or b"null")
        self.calls.append((request.path_qs, body))
        if self.fail and self.fail in request.path:
            return web.json_response({"error": {"message": "broken", "type": "x", "code": 500}}, status=500)
        if request.path == "/collective_rpc":
            return web.json_response({"results": [self.checksums]})
        if request.path != "/inference/v1/generate":
            return web.json_response({"message": "done"})
        if self.hold is not None:
            await self.hold.wait()
        assert body is not None
        return await self._stream(request) if body.get("stream") else web.json_response(self._whole(self.choices))

    def _whole(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        usage = {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 64}}
        return {"request_id": "x", "choices": choices, "usage": usage, "prompt_logprobs": self.prompt_logprobs}

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for one in self.choices:
            await response.write(b"data: " + json.dumps({"request_id": "x", "choices": [one]}).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    @property
    def routes(self) -> list[str]:
        return [path for path, _ in self.calls]


def choice(index: int, ids: list[int], spans: list[tuple[str, int, int]] | None = None, **more: Any) -> dict[str, Any]:
    content = [
        {"token_id": token, "logprob": -token / 10, "rank": 1, "top_logprobs": [
            {"token_id": token, "logprob": -token / 10, "rank": 2}, {"token_id": 7, "logprob": -0.5, "rank": 1}]}
        for token in ids
    ]  # fmt: skip
    told = None if spans is None else [{"version": name, "start": a, "end": b} for name, a, b in spans]
    whole = {"index": index, "token_ids": ids, "logprobs": {"content": content}, "weight_versions": told}
    return whole | {"finish_reason": "length", "stop_reason": None, "routed_experts": None} | more


@pytest.fixture
def fake() -> FakeVllm:
    return FakeVllm()


@pytest.fixture
async def there(fake: FakeVllm) -> AsyncIterator[Served]:
    async with await start(fake.app) as served:
        yield served


@pytest.fixture
async def backend(there: Served, vllm_config: PolicyConfig, tokenizer: Tokenizer) -> AsyncIterator[VllmBackend]:
    config = msgspec.structs.replace(vllm_config, vllm_url=f"{there.url}/v1", num_slots=1, max_waiting=1)
    backend = await asyncio.to_thread(open_vllm, config, tokenizer)
    yield backend
    await backend.close()


def ask(**fields: Any) -> GenerateRequest:
    return GenerateRequest(**{"prompt_token_ids": [40, 41], "max_tokens": 2, **fields})


async def test_a_request_in_vllms_words(backend: VllmBackend, fake: FakeVllm) -> None:
    fake.choices = [choice(0, [50, END_THINK], [("default", 0, 2)]), choice(1, [52, 53], [("default", 0, 2)])]
    request = ask(n=2, temperature=0.7, top_p=0.9, seed=5, stop=["!"], stop_token_ids=[99], presence_penalty=1.0)
    request.logit_bias, request.thinking_open, request.thinking_budget = {60: -math.inf, 61: 2.0}, True, 2
    request.constraint = guided_constraint(None, {"choice": ["a"]})
    result = await backend.generate(request)
    [(path, body)] = fake.calls
    assert path == "/inference/v1/generate"
    assert body["token_ids"] == [40, 41]
    assert body["reasoning_ended"] is False
    sampling = body["sampling_params"]
    assert sampling["structured_outputs"] == {"grammar": 'start: "a"\n'}
    assert sampling["extra_args"] == {"thinking_budget": 2, "thinking_open": 1}
    assert sampling["logit_bias"] == {"60": -100.0, "61": 2.0}
    assert sampling["ignore_eos"] is True  # ends of sequences are ours to name:
    assert {2, 99} <= set(sampling["stop_token_ids"])
    asked = {name: sampling[name] for name in ("n", "max_tokens", "temperature", "top_p", "seed", "stop", "logprobs")}
    wanted = {"n": 2, "max_tokens": 2, "temperature": 0.7, "top_p": 0.9, "seed": 5, "stop": ["!"], "logprobs": 0}
    assert asked == wanted
    assert result.num_cached == 64
    assert [sample.origin.tolist() for sample in result.samples] == [[STEERED, FORCED], [STEERED, FORCED]]


@pytest.mark.parametrize("streamed", [False, True])
async def test_greedy_samples_are_drawn_once_and_told_to_all(
    backend: VllmBackend, fake: FakeVllm, streamed: bool
) -> None:
    fake.choices = [choice(0, [50, 51], [("default", 0, 2)])]
    heard: list[Delta] = []
    result = await backend.generate(ask(n=3, temperature=0.0, on_delta=heard.append if streamed else None))
    [(_, body)] = fake.calls
    assert body["sampling_params"]["n"] == 1
    assert [sample.token_ids.tolist() for sample in result.samples] == [[50, 51]] * 3
    assert [(delta.index, delta.token_ids) for delta in heard] == [(i, [50, 51]) for i in range(3) if streamed]
    with pytest.raises(BadRequest) as caught:
        await backend.generate(ask(n=5000, temperature=0.0))
    assert caught.value.field == "n"


async def test_tokens_logprobs_alternatives_and_versions(backend: VllmBackend, fake: FakeVllm) -> None:
    spans = [("default", 0, 1), ("3", 1, 3)]
    fake.choices = [choice(0, [50, 51, 2], spans, finish_reason="stop", stop_reason=2)]
    [sample] = (await backend.generate(ask(num_top_logprobs=2))).samples
    assert sample.token_ids.tolist() == [50, 51, 2]
    assert sample.logprobs.tolist() == pytest.approx([-5.0, -5.1, -0.2])
    assert sample.versions.tolist() == [0, 3, 3]
    assert (sample.finish_reason, sample.stop_reason) == ("stop", 2)
    assert sample.top_logprobs is not None
    assert sample.top_logprobs[0] == [(7, -0.5), (50, -5.0)]
    assert sample.origin is None
    assert sample.loss_mask.all()


async def test_a_thought_that_ends_by_itself_is_sampled(backend: VllmBackend, fake: FakeVllm) -> None:
    fake.choices = [choice(0, [END_THINK, 51], [("default", 0, 2)])]
    [free] = (await backend.generate(ask(thinking_open=True, thinking_budget=5))).samples
    assert free.origin is None
    fake.choices = [choice(0, [50, END_THINK], [("default", 0, 2)])]
    [held] = (await backend.generate(ask(thinking_open=True, thinking_budget=2))).samples
    assert held.origin is not None
    assert held.origin.tolist() == [SAMPLED, FORCED]


async def test_a_stream_is_told_as_it_comes(backend: VllmBackend, fake: FakeVllm, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("one! two")
    fake.choices = [choice(0, [token], finish_reason=None) for token in ids[:-1]]
    fake.choices.append(choice(0, ids[-1:], [("default", 0, len(ids))]))
    heard: list[Delta] = []
    [sample] = (await backend.generate(ask(on_delta=heard.append))).samples
    assert sample.token_ids.tolist() == ids
    assert [delta.token_ids for delta in heard] == [[token] for token in ids]
    assert "".join(delta.text for delta in heard) == "one! two"
    assert heard[-1].finish_reason == "length"


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (choice(0, [50, 51], [("default", 0, 1)]), "which weights"),
        (choice(0, [50, 51], None), "which weights"),
        (choice(0, [50], [("default", 0, 1)], token_ids=[50, 51]), "not those of its tokens"),
        (choice(0, [50], [("default", 0, 1)], finish_reason="abort"), "'abort'"),
        (choice(3, [50], [("default", 0, 1)]), "a choice 3 of 1"),
        ({"index": "zero"}, "not as agreed"),
    ],
)
async def test_replies_that_cannot_be_trusted_are_faults(
    backend: VllmBackend, fake: FakeVllm, bad: dict[str, Any], what: str
) -> None:
    fake.choices = [bad]
    with pytest.raises(PolicyFault, match=what):
        await backend.generate(ask())


async def test_a_full_house_answers_busy_and_leavers_make_room(backend: VllmBackend, fake: FakeVllm) -> None:
    fake.hold = asyncio.Event()
    running = [asyncio.create_task(backend.generate(ask())) for _ in range(2)]
    while len(fake.calls) < 2:
        await asyncio.sleep(0.001)
    with pytest.raises(Busy) as caught:
        await backend.generate(ask())
    assert caught.value.retry_after_s
    running.pop().cancel()
    while backend.stats["running"] > 1:
        await asyncio.sleep(0.001)
    fake.hold.set()
    assert (await backend.generate(ask())).samples
    await asyncio.gather(*running)


async def test_its_troubles_are_not_the_callers(backend: VllmBackend, fake: FakeVllm) -> None:
    fake.fail = "generate"
    with pytest.raises(PolicyFault, match="broken"):
        await backend.generate(ask())


async def test_scores_come_from_prefill(backend: VllmBackend, fake: FakeVllm) -> None:
    fake.prompt_logprobs = [None, {"41": {"logprob": -1.5, "rank": 3}, "9": {"logprob": -0.1, "rank": 1}}]
    [scores], version = await backend.score([[40, 41]])
    assert (scores.tolist(), version) == ([0.0, -1.5], 0)
    assert fake.calls[0][1]["sampling_params"]["prompt_logprobs"] == 0
    fake.prompt_logprobs = [None, {"9": {"logprob": -0.1}}]
    with pytest.raises(PolicyFault, match="no score for token 1"):
        await backend.score([[40, 41]])
    with pytest.raises(BadRequest) as caught:
        await backend.score([[40], [10**6]])
    assert caught.value.field == "token_ids[1]"


async def test_nobody_there(tokenizer: Tokenizer, vllm_config: PolicyConfig) -> None:
    async with await start(web.Application()) as there:
        url = there.url
        assert await asyncio.to_thread(served_version, url) == 0  # a server whose update routes are closed
    with pytest.raises(Unavailable, match="no vLLM"):
        await asyncio.to_thread(open_vllm, msgspec.structs.replace(vllm_config, vllm_url=url), tokenizer)


# Weights.

UPDATE = ["/start_weight_update", "/update_weights", "/finish_weight_update", "/collective_rpc"]


@pytest.fixture
def published(tmp_path: Path, hybrid: HybridModel) -> tuple[str, dict[str, str]]:
    """A file of other weights, and its checksums."""
    tensors = {name: tensor.clone().contiguous() for name, tensor in checkpoint.state_tensors(hybrid)}
    save_file(tensors, tmp_path / "new.safetensors")
    return str(tmp_path / "new.safetensors"), checkpoint.checksum(tensors.items())


@pytest.mark.parametrize(("switch", "mode"), [("tokens", "keep"), ("requests", "wait")])
async def test_an_update_goes_through_vllms_own_routes(
    backend: VllmBackend, fake: FakeVllm, published: tuple[str, dict[str, str]], switch: Any, mode: str
) -> None:
    path, sums = published
    backend._updates._switch = switch
    fake.checksums = sums
    assert await backend.load_weights(path, 4, sums) == sums
    assert backend.version == 4
    assert fake.routes == [f"/pause?mode={mode}", *UPDATE, "/resume"]
    bodies = dict(fake.calls)
    assert bodies["/update_weights"] == {"update_info": {"path": path}}
    assert bodies["/finish_weight_update"] == {"weight_version": "4"}
    with pytest.raises(Conflict, match="is not newer"):
        await backend.load_weights(path, 4, sums)


async def test_what_does_not_fit_never_reaches_vllm(
    backend: VllmBackend, fake: FakeVllm, published: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    path, sums = published
    with pytest.raises(Conflict, match="checksum"):
        await backend.load_weights(path, 1, sums | {"lm_head.weight": "0" * 32})
    save_file({"lm_head.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(Conflict, match="is missing"):
        await backend.load_weights(str(tmp_path / "other.safetensors"), 1, {})
    with pytest.raises(BadRequest, match="no weights at"):
        await backend.load_weights(str(tmp_path / "nothing"), 1, {})
    assert fake.calls == []
    assert (await backend.generate(ask())).samples


@pytest.mark.parametrize("fail", ["update_weights", "finish_weight_update", "collective_rpc", "stale tensor", "extra"])
async def test_an_update_that_fails_half_way_stops_sampling_until_one_succeeds(
    backend: VllmBackend, fake: FakeVllm, published: tuple[str, dict[str, str]], fail: str
) -> None:
    path, sums = published
    name = "backbone.layers.0.mixer.conv1d.weight"
    changed = {"stale tensor": {name: "0" * 32}, "extra": {"model.layers.0.scale": "not published"}}
    fake.checksums, fake.fail = sums | changed.get(fail, {}), "" if fail in changed else fail
    with pytest.raises(Exception, match=r"broken|are not the published"):
        await backend.load_weights(path, 1, sums)
    assert fake.routes[-2:] == ["/abort_requests", "/resume"]
    assert backend.version == 0
    with pytest.raises(PolicyFault, match="did not arrive"):
        await backend.generate(ask())
    with pytest.raises(PolicyFault, match="did not arrive"):
        await backend.score([[40]])
    fake.checksums, fake.fail = sums, ""
    await backend.load_weights(path, 2, sums)
    assert (await backend.generate(ask())).samples


async def test_before_the_old_weights_are_gone_a_failure_changes_nothing(
    backend: VllmBackend, fake: FakeVllm, published: tuple[str, dict[str, str]]
) -> None:
    path, sums = published
    fake.fail = "start_weight_update"
    with pytest.raises(Exception, match="broken"):
        await backend.load_weights(path, 1, sums)
    assert fake.routes == ["/pause?mode=keep", "/start_weight_update", "/resume"]
    assert (await backend.generate(ask())).samples


async def test_a_server_that_was_started_again_has_lost_its_weights(
    backend: VllmBackend, fake: FakeVllm, published: tuple[str, dict[str, str]]
) -> None:
    backend._updates.forget()  # nothing was published yet: the same weights again
    assert (await backend.generate(ask())).samples
    fake.checksums = published[1]
    await backend.load_weights(published[0], 1, {})
    backend._updates.forget()
    with pytest.raises(PolicyFault, match="lost version 1"):
        await backend.generate(ask())
