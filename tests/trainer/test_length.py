import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config import LengthRecipe, parse_recipe
from trainer.length import Member, centred_weights, shaped_rewards, sign_flips
from trainer.shape import shaper

MEMBERS = st.lists(
    st.builds(Member, st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.tuples(st.integers(0, 50), st.integers(0, 50))),
    min_size=1,
    max_size=16,
)


def members(*triples: tuple[float, int, int]) -> list[Member]:
    return [Member(reward, (think, answer)) for reward, think, answer in triples]


SAFE = LengthRecipe(answer=1.0, sign_safe=True)


def test_weights_by_hand() -> None:
    # w = 1, 0.5, 0 for 10, 15, 20; their mean is 0.5
    assert centred_weights([10, 15, 20]) == pytest.approx([0.5, 0.0, -0.5])
    assert centred_weights([7, 7, 7]) == [0.0, 0.0, 0.0]


def test_equations_by_hand() -> None:
    group = members((1.0, 10, 4), (1.0, 20, 4), (0.0, 10, 8))
    # think: w = 1, 0, 1, mean 2/3; answer: w = 1, 1, 0, mean 2/3
    expected = [1 + 0.5 / 3 + 0.5 / 3, 1 - 0.5 * 2 / 3 + 0.5 / 3, 0.5 / 3 - 0.5 * 2 / 3]
    assert shaped_rewards(group, LengthRecipe(think=0.5, answer=0.5)) == pytest.approx(expected)


def test_the_bonus_goes_to_the_shortest_if_it_is_among_the_best() -> None:
    recipe = LengthRecipe(answer_bonus=0.5)
    good = members((1.0, 0, 5), (1.0, 0, 9), (0.0, 0, 7), (0.0, 0, 8), (0.0, 0, 8))
    assert shaped_rewards(good, recipe) == [1.5, 1.0, 0.0, 0.0, 0.0]
    lazy = members((1.0, 0, 5), (1.0, 0, 9), (0.0, 0, 1), (0.0, 0, 8), (0.0, 0, 8))
    assert shaped_rewards(lazy, recipe) == [1.0, 1.0, 0.0, 0.0, 0.0], "short but bad: nobody"


def test_an_empty_span_is_nobodys_shortest() -> None:
    group = members((1.0, 0, 0), (1.0, 0, 6), (0.0, 0, 9))
    assert shaped_rewards(group, LengthRecipe(answer_bonus=0.5)) == [1.0, 1.5, 0.0]
    assert shaped_rewards(group, LengthRecipe(think_bonus=0.5)) == [1.0, 1.0, 0.0]


def test_of_equally_short_ones_the_better_gets_the_bonus() -> None:
    group = members((0.0, 0, 4), (1.0, 0, 4), (0.0, 0, 9))
    assert shaped_rewards(group, LengthRecipe(answer_bonus=0.5)) == [0.0, 1.5, 0.0]


def test_the_published_form_can_turn_a_sign_and_the_safe_one_does_not() -> None:
    group = members((1.0, 0, 100), (0.9, 0, 10), (0.9, 0, 10))
    base = [member.reward for member in group]
    assert sign_flips(base, shaped_rewards(group, LengthRecipe(answer=0.5))) == 3
    assert sign_flips(base, shaped_rewards(group, LengthRecipe(answer=0.5, sign_safe=True))) == 0


def test_the_safe_form_by_hand() -> None:
    # good ones are 0 and 1, typical length 8; b = 0.5 * (1 - 6/8) = 0.125 for the shorter one
    group = members((1.0, 0, 6), (1.0, 0, 10), (0.0, 0, 1), (0.0, 0, 50))
    assert shaped_rewards(group, LengthRecipe(answer=0.5, sign_safe=True)) == pytest.approx([1.125, 1.0, 0.0, 0.0])


@given(MEMBERS, st.floats(0, 3), st.floats(0, 3))
def test_the_safe_form_turns_no_sign(group: list[Member], think: float, answer: float) -> None:
    base = [member.reward for member in group]
    after = shaped_rewards(group, LengthRecipe(think=think, answer=answer, sign_safe=True))
    old, new = math.fsum(base) / len(base), math.fsum(after) / len(after)
    for before, now in zip(base, after, strict=True):
        assert now >= before
        if before > old + 1e-9:
            assert now > new
        if before < old - 1e-9:
            assert now < new


@given(st.floats(-3, 3), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=16))
def test_where_all_earned_the_same_the_safe_form_pays_nobody(reward: float, lengths: list[tuple[int, int]]) -> None:
    """Their mean may be a rounding below them: nobody is better for that."""
    group = [Member(reward, each) for each in lengths]
    assert shaped_rewards(group, LengthRecipe(think=5.0, answer=5.0, sign_safe=True)) == [reward] * len(group)


def test_a_member_that_only_rounding_puts_above_the_mean_takes_no_bonus_from_the_others() -> None:
    # 1.2 / 6 is a rounding below 0.2; good are the two of 0.3, typical length 6: b = 1 - 3/6 for the shorter one
    rewards, lengths = [0.1, 0.2, 0.3, 0.1, 0.2, 0.3], [9, 9, 9, 9, 9, 3]
    assert math.fsum(rewards) / 6 < 0.2
    group = members(*((reward, 0, length) for reward, length in zip(rewards, lengths, strict=True)))
    assert shaped_rewards(group, SAFE) == pytest.approx([0.1, 0.2, 0.3, 0.1, 0.2, 0.8])
    assert sign_flips([0.1, 0.2, 0.3], [0.1, 0.1999, 0.3]) == 0, "the one at the mean had no sign to turn"


@given(MEMBERS, st.floats(0, 1), st.floats(0, 1))
def test_without_bonus_the_published_form_moves_no_mean(group: list[Member], think: float, answer: float) -> None:
    after = shaped_rewards(group, LengthRecipe(think=think, answer=answer))
    assert math.fsum(after) == pytest.approx(math.fsum(member.reward for member in group), abs=1e-9)


@given(MEMBERS)
def test_among_equals_the_shorter_earns_more(group: list[Member]) -> None:
    equals = [Member(1.0, member.lengths) for member in group]
    after = shaped_rewards(equals, LengthRecipe(answer=0.5))
    for one, a in zip(equals, after, strict=True):
        for other, b in zip(equals, after, strict=True):
            if one.lengths[1] < other.lengths[1]:
                assert a > b


def test_a_recipe_with_coefficients_shapes_and_says_what_it_moved(group) -> None:
    data: dict[str, Any] = {"name": "x", "environments": {"e": {}}, "length": {"answer": 0.5}}
    shape = shaper(parse_recipe(data))
    shaped = shape([group([1.0, None, 0.0])], 0)
    assert shaped.rewards[0][1] is None
    assert set(shaped.metrics) == {
        "grlc/sign_flip_frac",
        "grlc/length_reward_var_share",
        "grlc/think_tokens",
        "grlc/answer_tokens",
    }
    assert shape([group([None, None])], 0).metrics == {}
