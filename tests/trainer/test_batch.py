import numpy as np

from gym_core.contracts import Outcome
from gym_core.tokens import TokenTrace
from trainer.advantage import group_advantages, trainable_reward
from trainer.batch import to_samples
from trainer.played import Played, PlayedGroup


def trace(mask: list[bool]) -> TokenTrace:
    n = len(mask)
    on = np.array(mask)
    return TokenTrace(np.arange(n, dtype=np.int32), np.where(on, -0.5, 0.0).astype(np.float32), on, np.where(on, 1, -1))


def played(member: Played, *masks: list[bool]) -> Played:
    member.traces = [trace(mask) for mask in masks]
    return member


def group_of(*members: Played) -> PlayedGroup:
    return PlayedGroup("g", "t", "maths", list(members))


def advantages(group: PlayedGroup) -> list[float | None]:
    return group_advantages([trainable_reward(m.rollout) for m in group.members], "none")


def test_every_trace_carries_its_rollout_s_advantage(member) -> None:
    group = group_of(played(member(1.0), [False, True], [False, True, True]), played(member(0.0), [False, True]))
    samples = to_samples([group], [advantages(group)])
    assert [sample.advantage for sample in samples] == [0.5, 0.5, -0.5]
    assert [sample.num_trained for sample in samples] == [1, 2, 1]


def test_a_trace_with_nothing_to_train_on_is_no_sample(member) -> None:
    group = group_of(played(member(1.0), [False, False]), played(member(0.0), [False, True]))
    assert len(to_samples([group], [advantages(group)])) == 1


def test_a_failed_rollout_is_no_sample(member) -> None:
    failed = played(member(None, Outcome.ENV_ERROR), [False, True])
    group = group_of(failed, played(member(1.0), [False, True]), played(member(0.0), [False, True]))
    assert [sample.advantage for sample in to_samples([group], [advantages(group)])] == [0.5, -0.5]


def test_a_truncated_rollout_counts_in_the_baseline_and_is_not_trained_on(member) -> None:
    cut = played(member(0.0, Outcome.TRUNCATED), [False, True])
    group = group_of(played(member(1.0), [False, True]), cut)
    assert [sample.advantage for sample in to_samples([group], [advantages(group)])] == [0.5, -0.5]
    filtered = to_samples([group], [advantages(group)], mask_truncated=True)
    assert [sample.advantage for sample in filtered] == [0.5], "0.5, not 0: the cut one is still in the mean"
