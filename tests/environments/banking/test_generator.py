"""Generated dialogues: families, levels, plans that break no rule, and an oracle that asks for all it needs."""

from __future__ import annotations

import re
from collections import Counter
from typing import get_args, get_type_hints

import pytest

from environments.banking import rules
from environments.banking.desk import Desk
from environments.banking.environment import Banking
from environments.banking.families import money, outside
from environments.banking.generator import ALL, INSIDE
from environments.banking.plan import Plan
from environments.banking.replay import play
from environments.banking.tools.looking import Looking
from environments.banking.tools.serving import Serving
from gym_core.contracts import Task
from gym_core.environment import Script
from gym_core.generate import make_tasks
from gym_core.play import play_script

ENVIRONMENT = Banking()


def tasks(level: int, count: int = 60) -> list[Task]:
    return make_tasks(ENVIRONMENT, seed=31, level=level, count=count)


def script_of(task: Task) -> Script:
    return ENVIRONMENT.oracle(task)


def test_there_are_many_families_inside_the_policy_and_outside() -> None:
    names = [family.__name__ for family in ALL]
    assert len(names) == len(set(names)) >= 60
    assert len(INSIDE) >= 35 and len(outside.FAMILIES) + len(outside.HANDED_OVER) >= 25


@pytest.mark.slow
def test_every_family_is_met() -> None:
    met = Counter(goal.family for level in (1, 2, 3, 4, 5) for task in tasks(level, 400) for goal in task["plan"].goals)
    assert set(met) == {family.__name__ for family in ALL}


@pytest.mark.parametrize("level", ENVIRONMENT.levels)
async def test_the_oracles_dialogue_earns_the_maximum(level: int) -> None:
    for task in tasks(level):
        _, verdict = await play_script(ENVIRONMENT, task)
        assert verdict is not None and verdict.reward == 1.0, (verdict.components, verdict.details)
        assert verdict.components["collateral"] == verdict.components["undone"] == 0.0


@pytest.mark.parametrize("level", ENVIRONMENT.levels)
def test_a_plan_breaks_no_rule_and_asks_for_an_end(level: int) -> None:
    for task in tasks(level):
        plan: Plan = task["plan"]
        desk = Desk.opened(plan.start, plan.today)
        desk.verified = plan.caller
        for goal in plan.goals:
            play(desk, goal.calls)
        assert desk.violations == []
        assert plan.ending in ("done", "declined", "partly", *rules.REASONS)
        assert [bool(goal.hands_over) for goal in plan.goals[:-1]] == [False] * (len(plan.goals) - 1)
        assert plan.start.total() + desk.granted == desk.books.total()


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
async def test_the_oracle_writes_no_id_that_it_has_not_seen(level: int) -> None:
    """Ids and figures of its calls stand in the prompt, in what the customer said, or in what a tool answered."""
    for task in tasks(level, 30):
        items, _ = await play_script(ENVIRONMENT, task)
        seen = " ".join(str(item["content"]) for item in task.messages)
        for item in items:
            if item.get("type") == "function_call" and item["name"] != "verify_identity":
                for found in re.findall(r'"([ACTPDL]\d{4}|\d{6})"', item["arguments"]):
                    assert found in seen, (found, item, task["plan"].goals)
            if item.get("role") != "assistant":
                seen += " " + str(item.get("content") or item.get("output") or "")


def test_level_0_is_one_card_and_two_short_turns() -> None:
    for task in tasks(0):
        plan: Plan = task["plan"]
        (goal,) = plan.goals
        assert [step.name for step in script_of(task).calls] == [
            *("verify_identity", goal.calls[0].name, "user_turn", "close_case")
        ]
        assert str(goal.calls[0].arguments["card_id"]) in plan.prompt
        assert plan.tries[0][2] in plan.prompt
        assert len(task.tools) == 5


def test_difficulty_grows() -> None:
    steps = [sum(len(script_of(task).calls) for task in tasks(level)) for level in ENVIRONMENT.levels]
    assert steps == sorted(steps) and steps[-1] > 3 * steps[0]
    hidden = [sum(plan_hides(task["plan"]) for task in tasks(level)) for level in (1, 2, 3)]
    assert hidden[0] == 0 and hidden == sorted(hidden)
    changed = {goal.family for level in (4, 5) for task in tasks(level) for goal in task["plan"].goals if goal.change}
    assert changed == {family.__name__ for family in money.CHANGES_MIND}


def plan_hides(plan: Plan) -> int:
    """Slots that the opening of a wish does not say, and the identity."""
    slots = sum(words not in goal.ask for goal in plan.goals for _, words in goal.answers)
    return slots + 3 * (not plan.identity_given)


def test_what_the_customer_may_not_be_told_is_asked_for_by_impostors_alone() -> None:
    for task in tasks(2, 200):
        plan: Plan = task["plan"]
        thief = plan.goals[0].family == "impostor"
        assert bool(plan.secrets.amounts) == thief == (plan.caller == "")


def test_the_policy_says_what_its_numbers_are() -> None:
    text = rules.document()
    for number in ("2,000.00", "3,000.00", "1,000.00", "60 days", "365 days", "30.00", "20,000.00", "30 percent"):
        assert number in text
    for reason in rules.REASONS:
        assert f"`{reason}`" in text
    assert rules.document(("cards",)).splitlines() == [line for line in text.splitlines() if "(cards)" in line]


def test_the_tools_offer_the_topics_and_reasons_of_the_policy() -> None:
    assert get_args(get_type_hints(Looking.get_policy)["topic"]) == rules.TOPICS
    assert get_args(get_type_hints(Serving.transfer_to_human)["reason"]) == rules.REASONS
    assert len(ENVIRONMENT.tool_specs()) == 27


def test_rules_that_are_declined_under_exist_and_are_of_their_topic() -> None:
    cited = {
        call.arguments["rule"]
        for level in (2, 3, 4, 5)
        for task in tasks(level, 150)
        for goal in task["plan"].goals
        for call in goal.calls
        if call.name == "decline_request"
    }
    assert cited <= set(rules.RULES) and len(cited) >= 18
