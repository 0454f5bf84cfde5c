"""What a model is timed on (a training step, reading a prompt, decoding a token), and how forms are timed together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from model.cache import StateCache
from model.stack import HybridModel

Form = Callable[[], object]
_TURN_S = 0.02


def best_ms(forms: Mapping[str, Form], budget_s: float, device: torch.device | None = None) -> dict[str, float]:
    """The least milliseconds of one call of each form, over at least three turns and about budget_s each.

    Forms take turns of some calls each: a neighbour's load meets all of them alike, and caches are as warm as in the
    loop that the work is part of. One CPU thread is timed by the CPU time it
    used, anything else by the clock, a GPU once it is done.
    """
    cuda = device is not None and device.type == "cuda"
    clock = time.thread_time if torch.get_num_threads() == 1 and not cuda else time.perf_counter
    best = dict.fromkeys(forms, float("inf"))
    for run in forms.values():
        run()
    until, rounds = time.perf_counter() + budget_s * len(forms), 0
    while rounds < 3 or time.perf_counter() < until:
        for name, run in forms.items():
            turn = time.perf_counter() + _TURN_S
            while True:
                began = clock()
                run()
                if cuda:
                    torch.cuda.synchronize(device)
                best[name] = min(best[name], 1e3 * (clock() - began))
                if time.perf_counter() > turn:
                    break
        rounds += 1
    return best


def train_step(model: HybridModel, lengths: Sequence[int]) -> Form:
    """Forward, mean negative log-likelihood of the next token, backward, AdamW; returns the loss before the step.

    Drawn sequences of these lengths, packed: every token but the last of each sequence has a target.
    """
    token_ids = torch.cat(drawn_sequences(model, lengths))
    bounds = torch.tensor([0, *lengths]).cumsum(0)
    has_target = torch.ones(len(token_ids), dtype=torch.bool)
    has_target[bounds[1:] - 1] = False
    kept = has_target.nonzero().flatten().to(model.device)
    targets = token_ids[kept + 1]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, fused=True)

    def run() -> float:
        model.train()
        optimizer.zero_grad(set_to_none=True)
        logprobs, _ = model.token_logprobs(model(token_ids, bounds).index_select(0, kept), targets)
        loss = -logprobs.mean()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return run


def read_prompt(model: HybridModel, batch: int, length: int) -> Form:
    """Prefill of `batch` new sequences; returns the logits of the token that comes next [batch, V]."""
    token_ids, bounds = drawn(model, batch, length)
    cache, slots = _cache(model, batch, length), range(batch)

    def run() -> Tensor:
        model.eval()
        cache.lengths.zero_()  # as if new: no slot is read before it is written
        with torch.inference_mode():
            return model.logits(model.prefill(token_ids, bounds, cache, slots))

    return run


def decode_token(model: HybridModel, batch: int, context: int) -> Form:
    """One token for each of `batch` sequences that hold `context` tokens; every call does the same work."""
    token_ids, bounds = drawn(model, batch, context)
    cache, slots = _cache(model, batch, context + 1), range(batch)
    model.eval().prefill(token_ids, bounds, cache, slots)
    tokens = token_ids.view(batch, context)[:, -1]

    def run() -> Tensor:
        cache.lengths.fill_(context)  # keys and values of the last call are written over; states go on
        return model.decode(tokens, cache, slots)

    return run


def drawn(model: HybridModel, batch: int, length: int) -> tuple[Tensor, Tensor]:
    """Random packed tokens [batch * length], the same for the same sizes, and their cu_seqlens on the CPU."""
    return torch.cat(drawn_sequences(model, [length] * batch)), torch.arange(batch + 1) * length


def drawn_sequences(model: HybridModel, lengths: Sequence[int]) -> list[Tensor]:
    """Random tokens, the same for the same lengths."""
    draw = torch.Generator().manual_seed(sum(lengths))
    token_ids = torch.randint(model.config.vocab_size, (sum(lengths),), generator=draw)
    return list(token_ids.to(model.device).split(list(lengths)))


def _cache(model: HybridModel, batch: int, length: int) -> StateCache:
    cache = StateCache(model.config, batch, length, device=model.device, dtype=model.dtype)
    cache.reserve(length)
    return cache


def model_rows(
    model: HybridModel, budget_s: float, length: int = 128, decode: Sequence[int] = (1, 16, 64)
) -> list[dict[str, float | str]]:
    """Training step, prefill and decode of one model: what, milliseconds, tokens a second."""
    forms = {f"train step, 16 x {length}": (train_step(model, [length] * 16), 16 * length)}
    forms[f"prefill, 4 x {length}"] = (read_prompt(model, 4, length), 4 * length)
    for batch in decode:
        forms[f"decode, batch {batch}"] = (decode_token(model, batch, length), batch)
    rows: list[dict[str, float | str]] = []
    for what, (run, tokens) in forms.items():
        took = best_ms({what: run}, budget_s, model.device)[what]
        rows.append({"what": what, "ms": round(took, 4), "tokens_per_s": round(1e3 * tokens / took)})
    return rows
