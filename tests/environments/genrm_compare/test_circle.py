"""Who meets whom, and what the meetings are worth, by hand."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.genrm_compare.circle import mean_scores, pairs, published_pairs
from environments.genrm_compare.contest import Contest
from gym_core.errors import JudgeFault
from gym_core.judge.genrm import Comparison


def test_a_circle_of_four_has_four_comparisons() -> None:
    assert pairs(4) == [(0, 1), (1, 2), (2, 3), (3, 0)] == published_pairs(4)
    assert pairs(2) == [(0, 1), (1, 0)]
    assert pairs(1) == [(0, 0)] and published_pairs(1) == []
    assert pairs(0) == [] == published_pairs(0)


def test_all_pairs_are_judged_in_both_orders_but_not_in_public() -> None:
    assert pairs(3, "all_pairs") == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    assert published_pairs(3, "all_pairs") == [(0, 1), (0, 2), (1, 2)]


@given(st.integers(1, 40), st.sampled_from(["circular", "all_pairs"]))
def test_each_member_is_as_often_first_as_second(count: int, strategy: str) -> None:
    found = pairs(count, strategy)
    assert Counter(one for one, _ in found) == Counter(other for _, other in found)
    assert {place for pair in found for place in pair} == set(range(count))


def test_the_score_is_the_mean_of_both_places() -> None:
    # 0 against 1: 4 to 2; 1 against 2: 3 to 3, the first slightly better; 2 against 0: 1 to 5
    said = [Comparison(4, 2, 2), Comparison(3, 3, 3), Comparison(1, 5, 6)]
    assert mean_scores(3, zip(pairs(3), said, strict=True)) == [4.5, (2 + 3.5) / 2, (2.5 + 1) / 2]


@pytest.mark.parametrize(
    ("said", "scores"),
    [
        (Comparison(3, 3, 1), (5.5, 0.5)),
        (Comparison(3, 3, 6), (0.5, 5.5)),
        (Comparison(3, 3, 3.5), (3, 3)),
        (Comparison(4, 2, 6), (4, 2)),
        (Comparison(5, 5, 1), (7.5, 2.5)),
    ],
)
def test_a_tie_is_parted_by_the_ranking(said: Comparison, scores: tuple[float, float]) -> None:
    assert said.untied() == scores
    assert said.swapped().untied() == scores[::-1]


def test_who_was_never_compared_has_no_score() -> None:
    assert mean_scores(3, [((0, 1), Comparison(4, 2, 2))]) == [4, 2, None]


# The contest -----------------------------------------------------------------------------------------------------


def _by_length(one: str, other: str) -> Comparison:
    score, against = min(5, len(one)), min(5, len(other))
    return Comparison(score, against, 3.5 - (score > against) + (score < against))


@given(st.lists(st.text("abc", max_size=6), min_size=1, max_size=8), st.randoms())
def test_neither_order_nor_copies_change_what_a_reply_is_worth(texts: list[str], rng) -> None:  # type: ignore[no-untyped-def]
    found = dict(zip(texts, Contest(texts).decided_by(_by_length), strict=True))
    shuffled = texts * 2
    rng.shuffle(shuffled)
    again = Contest(shuffled).decided_by(_by_length)
    assert [found[text] for text in shuffled] == again


def test_what_is_no_answer_takes_no_part_and_earns_the_minimum() -> None:
    contest = Contest(["", "aaaa", " \n", ":", "Thought process:", "bb"])
    assert len(contest.pairs) == 2 and set(contest.answers) == {"aaaa", "bb"}
    rewards = [standing.reward for standing in contest.decided_by(_by_length)]
    assert rewards == [1, 4, 1, 1, 1, 2]


def test_a_lone_answer_is_judged_beside_itself_and_no_place_pays() -> None:
    contest = Contest(["aaaa", "", "aaaa"])
    assert contest.pairs == [(0, 0)]
    assert [one.reward for one in contest.standings([Comparison(4, 4, 1)])] == [4, 1, 4]


def test_a_group_of_silence_asks_nobody() -> None:
    contest = Contest(["", " "])
    assert contest.pairs == []
    assert [one.reward for one in contest.standings([])] == [1, 1]


def test_ties_pay_no_more_than_the_best_and_no_less_than_the_worst() -> None:
    contest = Contest(["aa", "bb"])
    worth = dict(zip(contest.texts, contest.standings([Comparison(5, 5, 1), Comparison(5, 5, 6)]), strict=True))
    assert worth[contest.answers[0]].reward == 5 and worth[contest.answers[1]].reward == 2.5
    worth = dict(zip(contest.texts, contest.standings([Comparison(1, 1, 6), Comparison(1, 1, 1)]), strict=True))
    assert worth[contest.answers[0]].reward == 1 and worth[contest.answers[1]].reward == 3.5


def test_a_comparison_that_failed_costs_its_two_members_only() -> None:
    contest = Contest(["a", "bb", "ccc", "dddd"])
    fault = JudgeFault("away")
    found = dict(
        zip(contest.texts, contest.standings([Comparison(4, 3, 3), fault, Comparison(2, 5, 6), Comparison(1, 2, 4)]),
            strict=True)
    )  # fmt: skip
    rewards = [found[answer].reward for answer in contest.answers]
    assert rewards == [(4 + 2) / 2, fault, fault, (5 + 1) / 2]
