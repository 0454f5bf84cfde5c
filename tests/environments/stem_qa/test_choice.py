"""Options from errors: exactly one true, and its place tells nothing."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.stem_qa.choice import TRUTH, Fact, NoOptions, exchangeable, from_fact, significant

FACT = Fact("?", 137.0, "m", {"a factor of 3": 3.0, "a factor of 7": 7.0}, "137")


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (12.345, 3, "12.3"),
        (12.0, 3, "12.0"),
        (0.045149, 3, "0.0451"),
        (99.96, 3, "100"),
        (0.09996, 3, "0.100"),
        (346_000_000.0, 3, "3.46 × 10^8"),
        (0.00001234, 3, "1.23 × 10^-5"),
        (-5.0, 2, "-5.0"),
        (123456.0, 3, "123000"),
        (7.0, 4, "7.000"),
        (0.0, 3, "0"),
    ],
)
def test_significant_digits(value, digits, text):
    assert significant(value, digits) == text


@given(st.floats(1e-12, 1e12), st.integers(2, 5))
def test_significant_digits_are_as_near_as_they_say(value, digits):
    shown = float(significant(value, digits).replace(" × 10^", "e"))
    assert abs(shown - value) <= 0.5001 * 10 ** (1 - digits) * 10 ** len(str(int(value))) or shown == pytest.approx(
        value, rel=0.51 * 10 ** (1 - digits)
    )


def test_the_truth_is_at_any_rank_equally_often():
    """Four options: each rank of the truth by size between 20 and 30 percent of 2,000 draws (binomial: 25 ± 1)."""
    draw, ranks = random.Random(0), Counter()
    for _ in range(2000):
        choice = from_fact(draw, FACT, 4, 1)
        order = sorted(choice.options, key=lambda text: float(text.split(" ")[0].replace("×", "")))
        ranks[order.index(choice.options[choice.answer])] += 1
        assert choice.models[choice.answer] == TRUTH and choice.options[choice.answer] == "137 m"
    assert all(400 < ranks[rank] < 600 for rank in range(4)), ranks


def test_errors_are_named():
    choice = from_fact(random.Random(3), FACT, 4, 1)
    for text, model in zip(choice.options, choice.models, strict=True):
        if model == "a factor of 3":
            assert text in ("411 m", "45.7 m")


def test_counts_never_fall_below_zero():
    fact = Fact("?", 1, "rows", {"wrong side": 4.0}, "1", counted=True)
    for seed in range(50):
        choice = from_fact(random.Random(seed), fact, 4, 1)
        assert all(int(text.split(" ")[0]) >= 0 for text in choice.options)


def test_no_room_is_said():
    with pytest.raises(NoOptions):
        from_fact(random.Random(0), Fact("?", 1, "", {}, "1", counted=True, limit=2.0), 10, 1)


@given(st.integers(0, 10**6))
def test_candidates_that_share_a_value_are_left_out(seed):
    asked, choice = exchangeable(random.Random(seed), {"p": "1", "q": "1", "r": "2", "s": "3"}, 4)
    assert sorted(choice.options) == ["2", "3"]
    assert {"r": "2", "s": "3"}[asked] == choice.options[choice.answer]
