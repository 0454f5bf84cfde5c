"""Supervised warm start from a JSONL file of demonstrations.

One line is one demonstration, already tokenised by whoever built it:

    {"environment": "maths", "token_ids": [5, 17, ...], "loss_mask": [0, 0, 1, ...]}

Batches are drawn without replacement within an epoch, each epoch in its own seeded order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import msgspec
import numpy as np

from gym_core.errors import BadRow
from gym_core.seeds import rng
from trainer.config import SftRecipe
from trainer.optim import linear_decay, warmup
from trainer.pack import Sample
from trainer.placement import Handle


class Demonstration(msgspec.Struct, frozen=True):
    """Token ids with a mask of 0 and 1: 1 where the token is to be learnt."""

    token_ids: list[int]
    loss_mask: list[int]
    environment: str = ""

    def sample(self) -> Sample:
        ids = np.asarray(self.token_ids, np.int32)
        return Sample(ids, np.asarray(self.loss_mask, bool), np.zeros(len(ids), np.float32))


def read_demonstrations(path: str | Path) -> list[Sample]:
    """Every demonstration of a file. Raises BadRow with the line and what is wrong with it."""
    samples = []
    decoder = msgspec.json.Decoder(Demonstration)
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                sample = decoder.decode(line).sample()
            except (msgspec.DecodeError, ValueError) as error:
                raise BadRow(f"{Path(path).name}, line {number}: {error}", field=f"line {number}") from None
            if not sample.num_trained:
                raise BadRow(
                    f"{Path(path).name}, line {number}: nothing to learn, the loss mask is all 0",
                    field=f"line {number}",
                )
            samples.append(sample)
    if not samples:
        raise BadRow(f"{Path(path).name} has no demonstrations", field="sft")
    return samples


def batches(samples: Sequence[Sample], size: int, seed: int, start: int = 0) -> Iterator[list[Sample]]:
    """Endless batches of `size`; the `start`-th is the same wherever one begins."""
    size = min(size, len(samples))
    per_epoch = len(samples) // size
    epoch, part = divmod(start, per_epoch)
    while True:
        order = list(range(len(samples)))
        rng(seed, "sft", epoch).shuffle(order)
        for number in range(part, per_epoch):
            yield [samples[i] for i in order[number * size : (number + 1) * size]]
        epoch, part = epoch + 1, 0


OnStep = Callable[[int, dict[str, float]], Awaitable[None] | None]


async def warm_start(
    learner: Handle,
    samples: Sequence[Sample],
    recipe: SftRecipe,
    *,
    seed: int,
    lessons: Sequence[Sample] = (),
    on_step: OnStep | None = None,
    cpu_seconds: float | None = None,
    first_batch: int = 0,
) -> int:
    """Train on `lessons`, then on demonstrations: Muon and AdamW, warm-up, linear decay to a tenth over both.

    Returns the steps taken.
    With `cpu_seconds` it goes on until the learner's process has spent that much (the SFT-only control arm) and the
    decay follows the time instead of `recipe.steps`; `first_batch` continues the order of an earlier warm start.
    """
    await learner.call("begin", "sft", recipe.lr)
    stream = batches(samples, recipe.batch, seed, first_batch)
    num_lessons = recipe.lessons if lessons else 0
    if num_lessons:
        stream = chain(islice(batches(lessons, recipe.batch, seed), num_lessons), stream)
    steps = num_lessons + recipe.steps
    spent = 0.0
    step = 0
    while spent < cpu_seconds if cpu_seconds is not None else step < steps:
        progress = spent / cpu_seconds if cpu_seconds is not None else step / steps
        scale = warmup(step, recipe.warmup) * linear_decay(progress)
        metrics = await learner.call("sft_step", next(stream), scale, recipe.aux_loss_coef)
        spent += metrics["sft/cpu_seconds"]
        step += 1
        if on_step is not None:
            done = on_step(step, metrics)
            if done is not None:
                await done
    return step
