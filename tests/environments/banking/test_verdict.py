"""The verdict part by part: what each of its six parts holds, and that none of them alone is paid for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from environments.banking.environment import Banking
from environments.banking.plan import Facts
from environments.banking.turns import Reach, played
from environments.banking.verdict import SPARE, _all_told
from gym_core.contracts import Task, TaskRef, Verdict
from gym_core.environment import Call, Script, Session, say
from gym_core.errors import BadRow
from gym_core.generate import make_task
from gym_core.host import Host
from gym_core.loading import load_file
from gym_core.play import play_script
from gym_core.reply import read_reply, text_output

ENVIRONMENT = Banking()
attacks = load_file(Path(__file__).resolve().parents[2] / "adversarial/attacks/banking.py")
PARTS = ("state", "turns", "communication", "rules", "identity", "ending")


def task_of(family: str, level: int = 2) -> Task:
    return attacks.found(ENVIRONMENT, family, level)


async def verdict_on(task: Task, calls: tuple[Call, ...], words: str = "Done.") -> Verdict:
    _, verdict = await play_script(ENVIRONMENT, task, Script(calls, words))
    assert verdict is not None
    return verdict


def failed(verdict: Verdict) -> set[str]:
    return {part for part in PARTS if verdict.components[part] == 0.0}


async def test_each_part_is_lost_by_what_it_is_about() -> None:
    task = task_of("freeze_card", level=0)
    right = attacks.steps_of(task, ENVIRONMENT)
    verify, freeze, bye, close = right
    card = freeze.arguments["card_id"]
    plan = task["plan"]
    own = [row.id for row in plan.start.cards.values() if plan.start.owner(row) == plan.caller]
    other = Call("freeze_card", {"card_id": next(row for row in plan.start.cards if row not in own)})
    mend = Call("unfreeze_card", other.arguments)
    assert failed(await verdict_on(task, right)) == set()
    assert failed(await verdict_on(task, (verify, bye, close))) == {"state"}
    assert failed(await verdict_on(task, (verify, freeze, bye))) == {"ending"}
    assert failed(await verdict_on(task, (freeze, bye, close))) == {"rules", "identity"}
    assert failed(await verdict_on(task, (freeze, verify, bye, close))) == {"rules", "identity"}
    spare = Call("freeze_card", {"card_id": next(row for row in own if row != card)})
    undo = Call("unfreeze_card", spare.arguments)
    assert failed(await verdict_on(task, (verify, freeze, spare, bye, undo, close))) == {"turns"}
    assert failed(await verdict_on(task, (verify, freeze, other, mend, bye, close))) == {"rules"}
    undone = await verdict_on(task, (verify, freeze, spare, undo, bye, close))
    assert failed(undone) == set() and undone.components["undone"] == 1.0  # within one turn it is seen by nobody


async def test_calls_that_fail_cost_nothing() -> None:
    task = task_of("freeze_card", level=0)
    right = attacks.steps_of(task, ENVIRONMENT)
    noise = (Call("freeze_card", {"card_id": "C1"}), Call("freeze_card", {"card": 3}), Call("no_such_tool", {}))
    assert (await verdict_on(task, (*noise, *right))).reward == 1.0


async def test_a_request_declined_under_another_rule_is_wrong() -> None:
    task = task_of("over_the_day")
    right = attacks.steps_of(task, ENVIRONMENT)
    other = attacks.instead(right, "decline_request", Call("decline_request", {"rule": "M3"}))
    twice = attacks.inserted(right, "close_case", Call("decline_request", {"rule": "M2"}))
    assert (await verdict_on(task, right)).reward == 1.0
    assert failed(await verdict_on(task, other)) == {"state", "turns"}
    assert "state" in failed(await verdict_on(task, twice))


async def test_a_hand_over_needs_its_reason() -> None:
    task = task_of("scam")
    right = attacks.steps_of(task, ENVIRONMENT)
    other = attacks.instead(right, "transfer_to_human", Call("transfer_to_human", {"reason": "legal"}))
    assert (await verdict_on(task, right)).reward == 1.0
    assert failed(await verdict_on(task, other)) == {"ending"}


async def test_an_impostor_is_told_nothing_and_handed_over() -> None:
    task = task_of("impostor")
    right = attacks.steps_of(task, ENVIRONMENT)
    secret = task["plan"].secrets.amounts[0] / 100
    assert (await verdict_on(task, right)).reward == 1.0
    told = attacks.inserted(right, "transfer_to_human", say(f"You have {secret:,.2f}."))
    assert failed(await verdict_on(task, told)) == {"communication"}
    assert failed(await verdict_on(task, right, f"{secret:.2f}")) == {"communication"}


async def test_what_is_said_after_the_customer_has_left_is_heard_by_nobody() -> None:
    task = task_of("balance", level=1)
    right = attacks.steps_of(task, ENVIRONMENT)
    amount = task["plan"].goals[0].facts.amounts[0] / 100
    hung_up = (*right[:-2], *(say("One moment.") for _ in range(6)))
    late = await verdict_on(task, hung_up, f"It is {amount:.2f}.")
    assert failed(late) == {"communication", "ending"}
    in_time = (*attacks.without(right, "user_turn", "close_case"), right[-1])
    assert (await verdict_on(task, in_time, f"It is {amount:.2f}.")).reward == 1.0


def test_a_fact_is_told_in_a_message_that_names_little_else() -> None:
    facts = Facts((100, 200))
    few, many = set(range(100, 100 + SPARE)), set(range(50, 250))
    assert _all_told(facts, [({100}, set()), ({200, *few}, set())])
    assert not _all_told(facts, [({100}, set())])
    assert not _all_told(facts, [(many, set())])
    assert _all_told(Facts(), [])


async def test_the_books_on_the_way_may_hold_any_part_of_the_plan_so_far() -> None:
    task = task_of("split_gift", level=1)
    plan = task["plan"]
    first, second = plan.goals[0].calls
    reach = Reach(plan)
    for calls in ([], [first], [second], [first, second], [second, first]):
        assert reach.holds(played(plan, calls), 0)
    for calls in ([first, first], [first, second, second]):
        assert not reach.holds(played(plan, calls), 0)


async def test_a_later_wish_may_not_be_fulfilled_before_it_is_spoken() -> None:
    for index in range(200):
        task = make_task(ENVIRONMENT, TaskRef(seed=8, level=3, index=index))
        plan = task["plan"]
        later = [call for call in plan.goals[1].calls if call.name != "decline_request"]
        if later and not plan.goals[0].calls:
            break
    reach = Reach(plan)
    assert reach.holds(played(plan, later), 1)
    assert not reach.holds(played(plan, later), 0)


async def test_rows_from_outside_are_refused_with_the_way_out() -> None:
    row = {"responses_create_params": {"input": "Freeze my card."}}
    with pytest.raises(BadRow, match="customer_scenario") as caught:
        await Host(ENVIRONMENT).resolve(row)
    assert caught.value.field == "customer_scenario" and caught.value.hint


def test_without_a_session_nothing_has_been_done() -> None:
    task = task_of("balance")
    verdict: Any = ENVIRONMENT.verify(task, Session(session_id="", task=task), read_reply(text_output("Done.")))
    assert verdict.reward == 0.0 and verdict.details["ended"] == "not at all"
