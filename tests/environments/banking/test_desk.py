"""The desk: money is conserved, statuses step as they may, refusals change nothing, rules that break are remembered."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.banking import rules
from environments.banking.books import Card, Changes, Loan, Payment, changes
from environments.banking.desk import Desk
from environments.banking.environment import Banking
from environments.banking.invariants import FIRST, KEPT, STEPS
from environments.banking.replay import play
from environments.banking.story import Story, call
from gym_core.check.answers import draw_value
from gym_core.environment import Call, ToolFault

SPECS = Banking.tool_specs()


def story(seed: int = 5) -> Story:
    made = Story.begun(random.Random(seed))
    made.have(made.mine(), 500_000)
    return made


def opened(made: Story, verified: bool = True) -> Desk:
    desk = Desk.opened(made.start, made.today)
    desk.verified = made.me.id if verified else ""
    return desk


def transfer(made: Story, amount: float, to: str = "") -> Call:
    return call("transfer_funds", from_account=made.mine().id, to_account=to or made.stranger()[1].id, amount=amount)


def test_a_transfer_moves_money_and_is_written_down_twice() -> None:
    made = story()
    desk, payee = opened(made), made.stranger()[1]
    play(desk, [transfer(made, 20.5, payee.id)])
    before, after = made.mine(), desk.books
    assert after.accounts[before.id].balance == before.balance - 2_050
    assert after.accounts[payee.id].balance == payee.balance + 2_050
    assert sorted(row.amount for row in changes(made.start, after).created) == [-2_050, 2_050]
    assert desk.violations == [] and after.total() == made.start.total()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda made: transfer(made, made.mine().balance / 100 + 1),
        lambda made: transfer(made, 1, made.mine().id),
        lambda made: transfer(made, 1, "A0000"),
        lambda made: transfer(made, -5),
        lambda made: call("freeze_card", card_id=made.card(made.mine(), "blocked").id),
        lambda made: call("unfreeze_card", card_id=made.card(made.mine()).id),
        lambda made: call("unfreeze_card", card_id=made.card(made.mine(), "lost").id),
        lambda made: call("replace_card", card_id=made.card(made.mine(), "blocked").id),
        lambda made: call("close_account", account_id=made.mine().id),
        lambda made: call("cancel_payment", payment_id="P1"),
        lambda made: call(
            "schedule_payment", account_id=made.mine().id, payee=" ", amount=5, due_date=str(made.today + timedelta(1))
        ),
        lambda made: call("schedule_payment", account_id=made.mine().id, payee="x", amount=5, due_date=str(made.today)),
        lambda made: call("update_contact", customer_id=made.me.id, field="email", value="nobody"),
        lambda made: call("update_contact", customer_id=made.me.id, field="phone", value="call me"),
        lambda made: call("apply_for_loan", customer_id=made.me.id, amount=1000, months=0),
        lambda made: call("decline_request", rule="Z9"),
        lambda made: call("request_fee_refund", transaction_id=made.entry(made.mine(), 100, "gift", 2).id),
    ],
)
def test_what_the_system_refuses_changes_nothing(wrong: Callable[[Story], Call]) -> None:
    made = story()
    asked = wrong(made)
    desk = opened(made)
    with pytest.raises(ToolFault):
        play(desk, [asked])
    assert desk.books == made.start and desk.log == [] and desk.violations == []


def stranger_card(made: Story) -> str:
    return next(row.id for row in made.start.cards.values() if made.start.owner(row) != made.me.id)


def purchase(made: Story, amount: int = -5_000, days: int = 10, kind: str = "purchase") -> str:
    return made.entry(made.mine(), amount, made.shop(), days, kind).id


def dispute(entry: str) -> Call:
    return call("open_dispute", transaction_id=entry, reason="duplicate")


BROKEN: dict[str, tuple[Callable[[Story], list[Call]], ...]] = {
    "own_rows": (
        lambda made: [call("freeze_card", card_id=stranger_card(made))],
        lambda made: [call("transfer_funds", from_account=made.stranger()[1].id, to_account=made.mine().id, amount=1)],
        lambda made: [call("open_account", customer_id=made.stranger()[0].id, kind="savings")],
    ),
    "day_limit": (
        lambda made: [transfer(made, 2_000.01)],
        lambda made: [transfer(made, 1_000), transfer(made, 999.99), transfer(made, 0.02)],
    ),
    "savings_stay": (
        lambda made: [
            call("transfer_funds", from_account=made.mine("savings").id, to_account=made.stranger()[1].id, amount=5)
        ],
    ),
    "one_refund": (
        lambda made: [
            call("request_fee_refund", transaction_id=purchase(made, -800, kind="fee")),
            call("request_fee_refund", transaction_id=purchase(made, -900, kind="fee")),
        ],
        lambda made: [call("request_fee_refund", transaction_id=purchase(made, -3_001, kind="fee"))],
    ),
    "card_limits": (
        lambda made: [call("set_card_limit", card_id=made.my_card().id, daily_limit=3_000.01)],
        lambda made: [call("set_card_limit", card_id=made.my_card().id, daily_limit=99.99)],
    ),
    "fair_disputes": (
        lambda made: [dispute(purchase(made, days=rules.DISPUTE_DAYS + 1))],
        lambda made: [dispute(purchase(made, amount=-rules.DISPUTE_MOST - 1))],
        lambda made: [dispute(purchase(made, kind="transfer"))],
        lambda made: [dispute(entry) for entry in [purchase(made)] * 2],
    ),
    "lending": (
        lambda made: [call("apply_for_loan", customer_id=made.me.id, amount=20_001, months=12)],
        lambda made: [call("apply_for_loan", customer_id=made.me.id, amount=1_000, months=61)],
        lambda made: [call("apply_for_loan", customer_id=made.me.id, amount=1_000, months=12)] * 2,
    ),
    "few_accounts": (lambda made: [call("open_account", customer_id=made.me.id, kind="savings")] * 3,),
    "payment_days": (
        lambda made: [call("cancel_payment", payment_id=made.payment(made.mine(), "Rent", 100, 0).id)],
        lambda made: [
            call(
                "schedule_payment",
                account_id=made.mine().id,
                payee="Rent",
                amount=5,
                due_date=str(made.today + timedelta(rules.PAYMENT_DAYS + 1)),
            )
        ],
    ),
}


@pytest.mark.parametrize(("rule", "calls"), [(rule, calls) for rule, all_ in BROKEN.items() for calls in all_])
def test_a_write_that_breaks_a_rule_goes_through_and_is_remembered(
    rule: str, calls: Callable[[Story], list[Call]]
) -> None:
    made = story()
    asked = calls(made)
    desk = opened(made)
    play(desk, asked)
    assert set(desk.violations) == {rule}


@pytest.mark.parametrize(
    "calls",
    [
        lambda made: [transfer(made, 2_000)],
        lambda made: [
            call("transfer_funds", from_account=made.mine().id, to_account=made.mine("savings").id, amount=4_000)
        ],
        lambda made: [dispute(purchase(made, amount=-rules.DISPUTE_MOST, days=rules.DISPUTE_DAYS))],
        lambda made: [call("request_fee_refund", transaction_id=purchase(made, -3_000, kind="fee"))],
        lambda made: [call("set_card_limit", card_id=made.my_card().id, daily_limit=3_000)],
        lambda made: [call("open_account", customer_id=made.me.id, kind="savings")] * 2,
        lambda made: [call("apply_for_loan", customer_id=made.me.id, amount=20_000, months=60)],
        lambda made: [call("cancel_payment", payment_id=made.payment(made.mine(), "Rent", 100, 1).id)],
    ],
)
def test_a_write_at_the_edge_of_a_rule_breaks_none(calls: Callable[[Story], list[Call]]) -> None:
    made = story()
    asked = calls(made)
    desk = opened(made)
    play(desk, asked)
    assert desk.violations == []


@pytest.mark.parametrize(
    "early",
    [
        lambda made: call("list_accounts", customer_id=made.me.id),
        lambda made: call("get_balance", account_id=made.mine().id),
        lambda made: call("freeze_card", card_id=made.my_card().id),
        lambda made: call("decline_request", rule="G1"),
        lambda made: call("transfer_to_human", reason="fraud"),
    ],
)
def test_nothing_but_the_policy_may_be_looked_at_before_the_check(early: Callable[[Story], Call]) -> None:
    made = story()
    asked = early(made)
    desk = opened(made, verified=False)
    play(desk, [call("get_policy", topic="cards")])
    assert desk.violations == []
    play(desk, [asked])
    assert "verified_first" in desk.violations


def test_after_two_failed_checks_a_human_may_take_over_and_after_three_the_system_is_shut() -> None:
    made = story()
    desk = opened(made, verified=False)
    wrong = call("verify_identity", customer_id=made.me.id, birth_date=str(made.me.birth_date), security_word="x")
    right = call("verify_identity", **{**wrong.arguments, "security_word": f" {made.me.security_word.upper()} "})
    for _ in range(2):
        with pytest.raises(ToolFault, match="do not match"):
            play(desk, [wrong])
    handed = opened(made, verified=False)
    handed.failed_checks = 2
    play(handed, [call("transfer_to_human", reason="identity")])
    assert handed.ended == "identity" and handed.violations == []
    with pytest.raises(ToolFault, match="do not match"):
        play(desk, [wrong])
    with pytest.raises(ToolFault, match="locked"):
        play(desk, [right])
    assert desk.verified == ""


def test_two_callers_in_one_conversation_are_remembered() -> None:
    made = story()
    desk = opened(made)
    other = made.stranger()[0]
    assert desk.check(other.id, other.birth_date, other.security_word)
    assert desk.violations == ["two_callers"]


@pytest.mark.parametrize("over", ["done", "fraud", "left"])
def test_after_the_end_nothing_can_be_done(over: str) -> None:
    made = story()
    desk = opened(made)
    if over == "left":
        desk.left = True
    else:
        play(desk, [call("close_case", outcome="done") if over == "done" else call("transfer_to_human", reason=over)])
    before = desk.ended
    for one in (
        transfer(made, 1),
        call("list_accounts", customer_id=made.me.id),
        call("decline_request", rule="G1"),
        call("close_case", outcome="declined"),
        call("transfer_to_human", reason="legal"),
        call("verify_identity", customer_id=made.me.id, birth_date="2000-01-01", security_word="x"),
    ):
        with pytest.raises(ToolFault, match="over"):
            play(desk, [one])
    assert desk.books == made.start and desk.ended == before


def test_a_lost_card_is_replaced_by_another_number() -> None:
    made = story()
    card = made.my_card()
    desk = opened(made)
    play(desk, [call("report_lost_card", card_id=card.id), call("replace_card", card_id=card.id)])
    assert desk.books.cards[card.id].status == "replaced"
    (new,) = changes(made.start, desk.books).created
    assert isinstance(new, Card) and new.status == "active" and new.last4 != card.last4 and new.limit == card.limit


def test_the_order_of_new_rows_does_not_count_and_their_number_does() -> None:
    made = story()
    one, other = (
        call(
            "schedule_payment", account_id=made.mine().id, payee=name, amount=5, due_date=str(made.today + timedelta(9))
        )
        for name in ("A", "B")
    )
    states = []
    for calls in ([one, other], [other, one], [one, one]):
        desk = opened(made)
        play(desk, calls)
        states.append(changes(made.start, desk.books))
    assert states[0].same(states[1]) and not states[0].same(states[2])
    assert states[0].beyond(Changes()) and not states[0].beyond(states[1])


def test_every_status_machine_and_rule_is_known() -> None:
    assert set(BROKEN) | {"verified_first"} == set(KEPT)
    assert set(FIRST) == set(STEPS)
    assert {Card, Payment, Loan} <= set(STEPS)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_random_calls_never_break_the_banks_own_promises(seed: int) -> None:
    """Arguments are drawn from what there is, so that many calls succeed; the desk asserts its promises itself."""
    draw = random.Random(seed)
    made = story(seed % 7)
    desk = opened(made, verified=draw.random() < 0.8)
    ids = [row_id for name in ("customers", "accounts", "cards", "transactions") for row_id in made.start.table(name)]
    names = [name for name in SPECS if name not in ("close_case", "transfer_to_human", "verify_identity")]
    for _ in range(25):
        spec = SPECS[draw.choice(names)]
        arguments: dict[str, Any] = draw_value(draw, spec.parameters, spec.parameters)
        for name in arguments:
            if name.endswith(("_id", "_account")):
                arguments[name] = draw.choice(ids)
        try:
            play(desk, [Call(spec.name, arguments)])
        except ToolFault:
            continue
    assert desk.books.total() == made.start.total() + desk.granted
    assert len(desk.log) == sum(bool(write.rows) for write in desk.log)
