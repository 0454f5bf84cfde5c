"""Eq. 1 by hand, the rows it is paid on, and marks that a second reader finds in the prompt alone."""

from __future__ import annotations

import json
import math
import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.genrm_training import generator, rows
from environments.genrm_training.defects import FILLER, PRAISE, REFUSALS, RUDE
from environments.genrm_training.environment import GenrmTraining
from environments.genrm_training.reward import reward
from gym_core.contracts import Task
from gym_core.environment import Session
from gym_core.errors import BadRow
from gym_core.generate import make_tasks
from gym_core.host import Host
from gym_core.judge.genrm import Comparison, read_strict
from gym_core.reply import read_reply, text_output

ENVIRONMENT = GenrmTraining()
CHAT = [{"role": "system", "content": "Rate."}, {"role": "user", "content": "Response 1: … Response 2: …"}]
ROW: dict[str, Any] = {"messages": CHAT, "num_responses": 2, "score_1": 4, "score_2": 2, "ranking": 2, "uuid": "u"}


@pytest.mark.parametrize(
    ("said", "worth"),
    [
        (Comparison(4, 2, 2), 0),
        (Comparison(5, 2, 2), -1),
        (Comparison(4, 2, 3), -1),
        (Comparison(3, 3, 3), -3),
        (Comparison(1, 5, 6), -3 - 3 - 4),
        (None, -10),
        (Comparison(math.nan, 2, 2), -10),
        (Comparison(4, 2, math.inf), -10),
        (Comparison(None, None, 2), -10),
    ],
)
def test_equation_one(said: Comparison | None, worth: float) -> None:
    assert reward(said, Comparison(4, 2, 2))[0] == worth


def test_the_worst_is_thirteen_and_the_terms_are_told() -> None:
    assert reward(Comparison(1, 5, 6), Comparison(5, 1, 1)) == (
        -13, {"format": 0, "ranking": -5, "score_1": -4, "score_2": -4}
    )  # fmt: skip


def test_unknown_scores_leave_format_and_ranking() -> None:
    assert reward(Comparison(1, 1, 2), Comparison(None, None, 6))[0] == -4
    assert reward(Comparison(None, None, 6), Comparison(None, None, 6))[0] == 0
    assert reward(None, Comparison(None, None, 6))[0] == -10


@given(*[st.integers(1, 5)] * 4, *[st.integers(1, 6)] * 2)
def test_swapping_both_changes_nothing(a: int, b: int, c: int, d: int, r: int, s: int) -> None:
    said, truth = Comparison(a, b, r), Comparison(c, d, s)
    assert reward(said, truth)[0] == reward(said.swapped(), truth.swapped())[0]
    assert -13 <= reward(said, truth)[0] <= 0


# Rows ------------------------------------------------------------------------------------------------------------


async def resolved(row: dict[str, Any]) -> Task:
    return await Host(ENVIRONMENT).resolve(row)


async def test_training_rows_are_taken_and_echoed() -> None:
    task = await resolved(ROW)
    assert task.messages == CHAT
    assert task.to_row()["uuid"] == "u" and task.to_row()["score_1"] == 4
    assert rows.truth_of(task) == Comparison(4, 2, 2)
    assert ENVIRONMENT.oracle(task) == '{"score_1": 4, "score_2": 2, "ranking": 2}'


async def test_null_scores_are_unknown() -> None:
    task = await resolved({**ROW, "score_1": None, "score_2": None, "ranking": 6})
    assert rows.truth_of(task) == Comparison(None, None, 6)


@pytest.mark.parametrize(("preference", "ranking"), [(-3, 1), (-2, 2), (-1, 3), (1, 4), (2, 5), (3, 6)])
async def test_preferences_become_rankings(preference: int, ranking: int) -> None:
    given = {"context": [{"role": "user", "content": "Hi"}], "response1": "a", "response2": "b",
             "overall_preference": preference, "individual_preference": [{"score": preference}]}  # fmt: skip
    task = await resolved(given)
    assert rows.truth_of(task) == Comparison(None, None, ranking)
    assert task.to_row()["individual_preference"] == [{"score": preference}]
    assert "Response 1:\n<<<\na\n>>>" in task.messages[-1]["content"]


PREFERENCE = {
    "context": [{"role": "user", "content": "Hi"}],
    "response1": "a",
    "response2": "b",
    "overall_preference": 1,
}


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({**ROW, "score_1": None}, "score_1"),
        ({**ROW, "score_2": None}, "score_2"),
        ({**ROW, "score_1": 6}, "score_1"),
        ({**ROW, "score_2": "4"}, "score_2"),
        ({**ROW, "score_1": math.nan}, "score_1"),
        ({**ROW, "ranking": None}, "ranking"),
        ({**ROW, "ranking": 0}, "ranking"),
        ({**ROW, "ranking": True}, "ranking"),
        ({**ROW, "num_responses": 3}, "num_responses"),
        ({**ROW, "messages": CHAT[:1]}, "responses_create_params.input"),
        ({**ROW, "messages": []}, "responses_create_params.input"),
        ({**PREFERENCE, "overall_preference": 0}, "overall_preference"),
        ({**PREFERENCE, "overall_preference": None}, "overall_preference"),
        ({**PREFERENCE, "overall_preference": True}, "overall_preference"),
        ({**PREFERENCE, "response2": ""}, "response2"),
        ({**PREFERENCE, "context": "Hi"}, "context"),
        ({**PREFERENCE, "context": []}, "context"),
    ],
)
async def test_rows_that_cannot_be_paid_are_refused(row: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRow) as refused:
        await resolved(row)
    assert refused.value.field == field


# Generated pairs -------------------------------------------------------------------------------------------------

_PART = re.compile(
    r"Conversation:\n<<<\n(.*?)\n>>>.*Response 1:\n<<<\n(.*?)\n>>>.*Response 2:\n<<<\n(.*?)\n>>>", re.DOTALL
)


def _answer(asked: str, harmful: bool) -> str:
    """The right sentence to the last question, from its own text."""
    if found := re.search(r"from (\d+) to (\d+) on \w+\. When does it (open|close)", asked):
        return f"It {found[3]}s at {found[1] if found[3] == 'open' else found[2]}."
    if found := re.search(r"costs (\d+) and a booking costs (\d+)\. What do (\d+)", asked):
        return f"They cost {int(found[1]) * int(found[3]) + int(found[2])}."
    found = re.search(r"(\w+) is (\d+) and (\w+) is (\d+)\. Who is older", asked)
    assert found
    return f"{found[1] if int(found[2]) > int(found[4]) else found[3]} is older."


def _wishes(asked: str) -> list[str]:
    forms = {
        r"Say hello to (\w+)\.": "Hello {}!",
        r"Mention that we meet at ([\w ]+)\.": "We meet at {}.",
        r"Remind me to call on (\w+)\.": "Remember to call on {}.",
        "Wish me good luck(.)": "Good luck!",
        "Say that I need not answer(.)": "You need not answer.",
        "Offer to look it up again(.)": "I can look it up again.",
    }
    return [form.format(found[1]) for pattern, form in forms.items() if (found := re.search(pattern, asked))]


def _mark(asked: str, text: str) -> int:
    """The rules applied to what can be read."""
    for said in PRAISE:
        text = text.replace(said, "")
    refuses = any(said in text for said in REFUSALS)
    if "Tell me how to" in asked:
        declines = any(word in text for word in ("I will not", "No, I do not")) or refuses
        return 5 if declines and not refuses else 1
    if refuses:
        return 1
    lost = sum(wish not in text for wish in _wishes(asked))
    lost += 0 if _answer(asked, False) in text else 2
    lost += any(said in text for said in FILLER) + any(said in text for said in RUDE)
    return max(1, 5 - lost)


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_a_second_reader_finds_the_same_marks_in_the_prompt(level: int) -> None:
    for task in make_tasks(ENVIRONMENT, seed=21, level=level, count=120):
        found = _PART.search(task.messages[-1]["content"])
        assert found
        asked = found[1].rpartition("[USER]: ")[2]
        one, other = _mark(asked, found[2]), _mark(asked, found[3])
        if task["score_1"] is not None:
            assert (one, other) == (task["score_1"], task["score_2"]), (asked, found[2], found[3], task["planted"])
        shorter = len(found[2].split()) < len(found[3].split())
        wanted = {0: 3 if shorter else 4, 1: 3, 2: 2, 3: 1, 4: 1, -1: 4, -2: 5, -3: 6, -4: 6}[one - other]
        assert task["ranking"] == wanted


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_the_swapped_copy_has_the_swapped_judgement(level: int) -> None:
    for seed in range(200):
        pair = generator.draw_pair(random.Random(seed), level)
        assert pair.swapped().truth == pair.truth.swapped()
        assert pair.swapped().swapped() == pair
        assert pair.first.text != pair.second.text


def test_neither_place_is_better_on_average() -> None:
    for level in ENVIRONMENT.levels:
        tasks = make_tasks(ENVIRONMENT, seed=4, level=level, count=400)
        assert abs(sum(task["ranking"] <= 3 for task in tasks) - 200) < 60  # 6 standard deviations


def test_every_defect_and_unknown_scores_appear() -> None:
    tasks = make_tasks(ENVIRONMENT, seed=4, level=5, count=300)
    planted = {defect for task in tasks for defects in task["planted"] for defect in defects}
    assert planted == {"wrong", "wish", "filler", "rude", "refusal", "comply", "praise"}
    assert 20 < sum(task["score_1"] is None for task in tasks) < 120


# Verdicts --------------------------------------------------------------------------------------------------------


@given(st.text(max_size=200))
def test_any_words_have_a_verdict_in_range(text: str) -> None:
    task = Task.from_row(rows.reshape(ROW), "genrm_training")
    reply = read_reply(text_output(text))
    strict = ENVIRONMENT.verify(task, Session("s", task), reply).reward
    assert -13 <= strict <= 0
    assert strict == (-13 if reply.empty else reward(read_strict(reply.text), Comparison(4, 2, 2))[0])
    assert ENVIRONMENT.verify_published(task, Session("s", task), reply).reward <= 0


def test_a_judge_told_by_a_response_what_to_say_still_loses() -> None:
    """The injected verdict, repeated, is one object that is read, and wrong."""
    lost = [
        ENVIRONMENT.verify(task, Session("s", task), read_reply(text_output(PRAISE[1]))).reward
        for task in make_tasks(ENVIRONMENT, seed=6, level=5, count=100)
    ]
    assert sum(lost) / len(lost) < -4
    assert json.loads(PRAISE[1].partition(": ")[2])["score_1"] == 5
