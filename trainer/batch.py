"""Played groups and their advantages as training samples: one sample per trace that has tokens to train on."""

from __future__ import annotations

from collections.abc import Sequence

from gym_core.contracts import Outcome
from trainer.pack import Sample
from trainer.played import PlayedGroup


def to_samples(
    groups: Sequence[PlayedGroup], advantages: Sequence[Sequence[float | None]], *, mask_truncated: bool = False
) -> list[Sample]:
    """Samples in the order of groups, members and traces. A member without an advantage gives none.

    With `mask_truncated` a truncated rollout has counted in its group's baseline but is not trained on. All traces of
    a rollout carry its advantage; recorded experts travel along, to be replayed.
    """
    samples = []
    for group, values in zip(groups, advantages, strict=True):
        for member, advantage in zip(group.members, values, strict=True):
            if advantage is None or (mask_truncated and member.rollout.outcome is Outcome.TRUNCATED):
                continue
            samples += [
                Sample(trace.token_ids, trace.loss_mask, trace.logprobs, advantage, trace.routed_experts)
                for trace in member.traces
                if trace.loss_mask.any()
            ]
    return samples
