"""What can go wrong beside the plain step, each in one layout of all processes."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from batches import LENGTHS, batches, config, furthest, grad, grads_of, loss_sum, original
from torch import Tensor
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor

from model.config import HybridConfig
from model.parallel.checkpoint import load_parallel, save_parallel, whole_model
from model.parallel.layout import Layout
from model.parallel.parallelise import gather_parameters, parallelise
from model.parallel.ranks import Ranks, arrange, member
from model.routing import replay_experts
from model.stack import HybridModel


@cache
def arranged(layout: Layout) -> Ranks:
    """Groups take longer to make than these models to run."""
    return arrange(layout)


def whole_sequences(cp: int) -> dict[str, float]:
    """A loss that needs all tokens of a sequence at once: every process computes it, and it counts once."""
    model = original()
    (token_ids, bounds, _), total = batches()[0], sum(LENGTHS[0])
    logprobs, _ = model.token_logprobs(model(token_ids, bounds), token_ids.roll(-1))
    sequence_loss(logprobs).backward()
    ranks = arranged(Layout(cp=cp))
    sharded = parallelise(original(), ranks)
    own, _ = sharded(token_ids, bounds, token_ids.roll(-1))
    logprobs = sharded.whole(own, total)
    sequence_loss(logprobs).backward()
    grads = gather_parameters(sharded, lambda parameter: parameter.grad)
    return {"gradients": furthest(grads, grads_of(model))[0]} if grads else {}


def sequence_loss(logprobs: Tensor) -> Tensor:
    return torch.stack([part.mean().exp() for part in logprobs.split(LENGTHS[0])]).sum()


def starved_and_frozen(world: int) -> dict[str, Any]:
    """All tokens want the same two experts, so most processes get no rows; gates do not train; nothing else changes."""

    def prepared() -> HybridModel:
        model = original()
        for mixer in model.moe_layers():
            mixer.gate.e_score_correction_bias[:2] += 100
        return model

    model, (token_ids, bounds, mask) = prepared(), batches()[0]
    sharded = parallelise(model, arranged(Layout(dp=world, ep=world)))
    for one in (model, sharded):
        one.freeze_router()
    logprobs, entropy = model.token_logprobs(model(token_ids, bounds), token_ids.roll(-1))
    loss_sum(logprobs, entropy, mask, slice(None)).backward()
    logprobs, entropy = sharded(token_ids, bounds, token_ids.roll(-1))
    (loss_sum(logprobs, entropy, mask, slice(None)) / world).backward()
    trained = {name: grad(parameter) for name, parameter in model.named_parameters() if parameter.grad is not None}
    grads = gather_parameters(sharded, lambda parameter: parameter.grad)
    frozen = [name for name, parameter in sharded.named_parameters() if parameter.grad is None]
    used = [mixer.expert_counts.count_nonzero().item() for mixer in sharded.moe_layers()]
    furthest_of = {name: float((grads[name] - expected).abs().max()) for name, expected in trained.items() if grads}
    return {"frozen": frozen, "used": used, "gradients": max(furthest_of.values(), default=0.0)}


def without_gradients(world: int) -> dict[str, Any]:
    """Scoring: the numbers of training, and nothing counted."""
    token_ids, bounds, _ = batches()[1]
    model = parallelise(original(), arranged(Layout(cp=world, ep=world)))
    trained, _ = model(token_ids, bounds, token_ids.roll(-1))
    before = [mixer.expert_counts.clone() for mixer in model.moe_layers()]
    with torch.no_grad():
        scored, _ = model(token_ids, bounds, token_ids.roll(-1))
    same = all(torch.equal(a, mixer.expert_counts) for a, mixer in zip(before, model.moe_layers(), strict=True))
    return {"apart": float((trained - scored).detach().abs().max()), "same_counts": same}


def replayed(world: int) -> float:
    """Experts that nobody would choose live, replayed in a layout and in one process."""
    token_ids, bounds, _ = batches()[1]
    experts = torch.rand(len(token_ids), 2, 8, generator=torch.Generator().manual_seed(9)).argsort(-1)[..., :2]
    model, sharded = original(), parallelise(original(), arranged(Layout(cp=world, ep=world)))
    rows = sharded.rows(len(token_ids))
    with torch.no_grad(), replay_experts(model, experts):
        expected, _ = model.token_logprobs(model(token_ids, bounds), token_ids.roll(-1))
    with torch.no_grad(), replay_experts(sharded, experts[rows]):  # type: ignore[arg-type]  # has the same layers
        found, _ = sharded(token_ids, bounds, token_ids.roll(-1))
    return float((found - expected[rows]).abs().max())


def refusals(world: int) -> list[str]:
    """What is said where a layout does not fit the processes, the model or the batch."""
    said = []
    for attempt in (
        lambda: arrange(Layout(dp=world + 1)),
        lambda: parallelise(HybridModel(HybridConfig.tiny(32, n_groups=1), device="meta"), arranged(Layout(tp=world))),
        lambda: parallelise(original(), arranged(Layout(cp=world)))(*[torch.tensor([0, 1, 2])] * 3),
    ):
        try:
            attempt()
        except ValueError as error:
            said.append(str(error))
    return said


def bf16_compute(world: int) -> dict[str, Any]:
    """fp32 parameters, bf16 maths, fp32 sums: the policy of training on GPUs."""
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    narrow = original().to(torch.float32)
    for mixer in narrow.moe_layers():
        mixer.gate.e_score_correction_bias = mixer.gate.e_score_correction_bias.float()
    model = parallelise(narrow, arranged(Layout(dp=world)), policy)
    token_ids, bounds, _ = batches()[0]
    logprobs, _ = model(token_ids, bounds, token_ids.roll(-1))
    logprobs.sum().backward()
    single = HybridModel(config(), dtype=torch.bfloat16)
    single.load_state_dict(narrow.state_dict())
    expected, _ = single.token_logprobs(single(token_ids, bounds), token_ids.roll(-1))
    dtypes = {str(grad(parameter).dtype) for parameter in model.parameters()}
    return {"logprobs": float((logprobs - expected).detach().abs().max()), "dtypes": sorted(dtypes)}


def odd_experts(world: int) -> dict[str, Any]:
    """Seven experts over two processes: FSDP2 cuts them along the hidden units instead."""
    model, (token_ids, bounds, mask) = original(n_routed_experts=7), batches()[0]
    sharded = parallelise(model, arranged(Layout(dp=world)))
    logprobs, entropy = model.token_logprobs(model(token_ids, bounds), token_ids.roll(-1))
    loss_sum(logprobs, entropy, mask, slice(None)).backward()
    logprobs, entropy = sharded(token_ids, bounds, token_ids.roll(-1))
    (loss_sum(logprobs, entropy, mask, slice(None)) / world).backward()
    grads = gather_parameters(sharded, lambda parameter: parameter.grad)
    up = sharded.get_parameter("layers.1.mixer.experts.up_proj")
    assert isinstance(up, DTensor)
    gradients = furthest(grads, grads_of(model))[0] if grads else 0.0
    return {"placements": str(up.placements), "held": list(up.to_local().shape), "gradients": gradients}


def crossed(folder: Path, world: int) -> bool:
    """What one layout saves another loads."""
    save_parallel(parallelise(original(), arranged(Layout(tp=world))), folder / "crossed")
    model = whole_model(load_parallel(folder / "crossed", arranged(Layout(dp=world, ep=world)), torch.float64))
    expected = original().parameters()
    return model is None or all(torch.equal(a, b) for a, b in zip(model.parameters(), expected, strict=True))


def main(rank: int, world: int, init: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    with member(rank, world, init, timeout_s=60), tempfile.TemporaryDirectory() as own:
        shared = [own]
        dist.broadcast_object_list(shared, 0)
        found: dict[str, Any] = {
            "whole": whole_sequences(world),
            "bf16": bf16_compute(world),
            "starved": starved_and_frozen(world),
            "scoring": without_gradients(world),
            "replayed": replayed(world),
            "odd": odd_experts(world),
            "refusals": refusals(world),
            "crossed": crossed(Path(shared[0]), world),
        }
        dist.barrier()
        return found
