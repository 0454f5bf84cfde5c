from trainer.config import parse_recipe
from trainer.shape import identity, shaper, verdicts
from trainer.shape import shuffled as shuffled_shaper


def shuffled(seed: int):
    return lambda groups, step: shuffled_shaper(seed)(groups, step).rewards


def recipe(**fields):
    return parse_recipe({"name": "x", "environments": {"e": {}}, **fields})


def flat(rewards):
    return [reward for group in rewards for reward in group]


def test_identity_is_the_verdicts(group) -> None:
    assert identity([group([1.0, 0.0]), group([None, 0.5])], 0).rewards == [[1.0, 0.0], [None, 0.5]]


def test_shuffled_permutes_across_the_whole_batch(group) -> None:
    groups = [group([1.0, 1.0, 1.0, 1.0]), group([0.0, 0.0, None, 0.0]), group([0.5, 0.25, 0.75, 0.1])]
    mixed = shuffled(0)(groups, 3)
    real = [r for r in flat(verdicts(groups)) if r is not None]
    assert sorted(r for r in flat(mixed) if r is not None) == sorted(real)
    assert [len(rewards) for rewards in mixed] == [4, 4, 4]
    assert mixed[1][2] is None, "a failure stays a failure"
    assert mixed[0] != [1.0] * 4, "rewards leave their group"


def test_shuffled_is_seeded_by_run_and_step(group) -> None:
    groups = [group([float(i) for i in range(16)])]
    assert shuffled(0)(groups, 1) == shuffled(0)(groups, 1)
    assert shuffled(0)(groups, 1) != shuffled(0)(groups, 2)
    assert shuffled(0)(groups, 1) != shuffled(1)(groups, 1)


def test_shuffled_rewards_say_nothing_about_the_rollout(group) -> None:
    groups = [group([1.0, 0.0] * 8)]
    agreements = [
        sum(a == b for a, b in zip(flat(shuffled(0)(groups, step)), flat(verdicts(groups)), strict=True))
        for step in range(200)
    ]
    assert abs(sum(agreements) / len(agreements) / 16 - 0.5) < 0.03


def test_the_arm_chooses(group) -> None:
    assert shaper(recipe()) is identity
    groups = [group([float(i) for i in range(16)])]
    assert shaper(recipe(arm="shuffled", seed=5))(groups, 0).rewards == shuffled(5)(groups, 0)
