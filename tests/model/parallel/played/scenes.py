"""Each layout asked for does one training step and is compared with the model in one process."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from batches import batches, furthest, grads_of, loss_sum, original

from model.checkpoint import load_pretrained, save_pretrained
from model.parallel.checkpoint import load_parallel, save_parallel, whole_model
from model.parallel.gradients import clip_grad_norm, local
from model.parallel.layout import Layout
from model.parallel.parallelise import gather_parameters, parallelise
from model.parallel.ranks import Ranks, arrange, member
from model.parallel.sharded_model import ShardedModel

MAX_NORM, LR, RATE = 0.05, 0.01, 1e-3


def alone() -> dict[str, Any]:
    """One step in one process: everything that a layout must give too."""
    model = original()
    optimiser = torch.optim.AdamW(model.parameters(), lr=LR, eps=1e-5)
    normaliser = sum(float(mask.sum()) for _, _, mask in batches())
    loss = 0.0
    for token_ids, bounds, mask in batches():
        logprobs, entropy = model.token_logprobs(model(token_ids, bounds, mask), token_ids.roll(-1))
        part = loss_sum(logprobs, entropy, mask, slice(None)) / normaliser
        part.backward()
        loss += float(part.detach())
    grads = grads_of(model)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
    optimiser.step()
    model.update_expert_bias(RATE)
    return {"loss": loss, "grads": grads, "norm": float(norm), "model": model}


def step(model: ShardedModel, ranks: Ranks) -> dict[str, Any]:
    """The same step in a layout; `grads` are whole on rank 0."""
    mine = batches()[ranks.dp.rank * 4 // ranks.layout.dp : (ranks.dp.rank + 1) * 4 // ranks.layout.dp]
    optimiser = torch.optim.AdamW(model.parameters(), lr=LR, eps=1e-5)
    own = sum(float(mask[model.rows(len(mask))].sum()) for _, _, mask in mine)
    normaliser = model.normaliser(torch.tensor(own))
    loss = torch.zeros((), dtype=torch.float64)
    for token_ids, bounds, mask in mine:
        logprobs, entropy = model(token_ids, bounds, token_ids.roll(-1), mask)
        part = loss_sum(logprobs, entropy, mask, model.rows(len(mask))) / normaliser
        part.backward()
        loss += part.detach()
    own_grads = grads_of(model)
    grads = gather_parameters(model, lambda parameter: parameter.grad)
    norm = clip_grad_norm(model, MAX_NORM)
    optimiser.step()
    model.update_expert_bias(RATE)
    return {"loss": float(model.normaliser(loss)), "grads": grads, "own": own_grads, "norm": float(norm)}


def compare(layout: Layout, expected: dict[str, Any], folder: Path) -> dict[str, Any]:
    ranks = arrange(layout)
    model = parallelise(original(), ranks)
    found = step(model, ranks)
    result: dict[str, Any] = {
        "loss": abs(found["loss"] - expected["loss"]) / abs(expected["loss"]),
        "norm": abs(found["norm"] - expected["norm"]) / expected["norm"],
    }
    whole = whole_model(model)
    if whole is not None:
        result["gradients"], result["furthest"] = furthest(found["grads"], expected["grads"])
        parameters = dict(expected["model"].named_parameters())
        result["parameters"] = furthest(dict(whole.named_parameters()), parameters)[0]
        biases = [[m.gate.e_score_correction_bias for m in one.moe_layers()] for one in (whole, expected["model"])]
        result["biases"] = all(torch.equal(ours, theirs) for ours, theirs in zip(*biases, strict=True))
    result |= recomputation(ranks, found) | checkpoint(model, ranks, folder / str(layout))
    return result


def recomputation(ranks: Ranks, found: dict[str, Any]) -> dict[str, bool]:
    """The same step again, every layer computed twice: equal bits, so both the layout and recomputation repeat."""
    model = parallelise(original(), ranks)
    model.recompute("ME*")
    again = step(model, ranks)
    return {"repeats": all(torch.equal(grad, again["own"][name]) for name, grad in found["own"].items())}


def checkpoint(model: ShardedModel, ranks: Ranks, directory: Path) -> dict[str, bool]:
    """What is saved is what one process would save of the same numbers, and loads to what was there."""
    save_parallel(model, directory)
    loaded = load_parallel(directory, ranks, torch.float64)
    pairs = zip(loaded.named_parameters(), model.named_parameters(), strict=True)
    same = [torch.equal(local(ours), local(theirs)) for (_, ours), (_, theirs) in pairs]
    same += [
        torch.equal(ours.gate.e_score_correction_bias, theirs.gate.e_score_correction_bias)
        for ours, theirs in zip(loaded.moe_layers(), model.moe_layers(), strict=True)
    ]
    result = {"loads": all(same)}
    if dist.get_rank() == 0:
        once_more = directory.with_name(directory.name + "-single")
        save_pretrained(load_pretrained(directory, dtype=torch.float64), once_more)
        files = [sorted(folder.glob("*.safetensors")) for folder in (directory, once_more)]
        result["files"] = [a.read_bytes() for a in files[0]] == [b.read_bytes() for b in files[1]] and bool(files[0])
    return result


def main(rank: int, world: int, init: str, layouts: list[dict[str, int]]) -> dict[str, Any]:
    torch.set_num_threads(1)
    with member(rank, world, init, timeout_s=60), tempfile.TemporaryDirectory() as own:
        shared = [own]
        dist.broadcast_object_list(shared, 0)
        expected = alone()
        asked = [Layout(**axes) for axes in layouts]
        found = {str(layout): compare(layout, expected, Path(shared[0])) for layout in asked}
        dist.barrier()
        return found
