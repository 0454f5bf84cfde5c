"""Wishes that move money or plan it."""

from __future__ import annotations

from datetime import timedelta

from environments.banking.figures import money
from environments.banking.plan import Facts, Goal
from environments.banking.story import Misfit, Story, answers, call, units


def own_transfer(s: Story) -> Goal:
    kinds = s.rng.sample(("checking", "savings"), 2)
    payer, payee = s.mine(kinds[0]), s.mine(kinds[1])
    amount = s.cents(20, min(900, payer.balance // 100 - 1))
    return Goal(
        "own_transfer",
        s.pick(("I want to move money between my accounts.", "Please transfer something between my own accounts.")),
        answers(
            amount=f"The amount is {money(amount)}.", source=f"From my {kinds[0]} account to my {kinds[1]} account."
        ),
        (call("list_accounts", customer_id=s.me.id),),
        (call("transfer_funds", from_account=payer.id, to_account=payee.id, amount=units(amount)),),
        confirm=f"move {money(amount)} from {payer.id} to {payee.id}",
    )


def send(s: Story) -> Goal:
    payer, (_, payee) = s.mine(), s.stranger()
    amount = s.cents(20, min(700, payer.balance // 100 - 1))
    return Goal(
        "send",
        s.pick(
            ("I need to send somebody money from my checking account.", "Please pay a friend from my checking account.")
        ),
        answers(amount=f"The amount is {money(amount)}.", target=f"To account {payee.id}."),
        (call("list_accounts", customer_id=s.me.id),),
        (call("transfer_funds", from_account=payer.id, to_account=payee.id, amount=units(amount)),),
        confirm=f"move {money(amount)} from {payer.id} to {payee.id}",
    )


def send_less(s: Story) -> Goal:
    """The customer changes its mind about the amount when it is read back."""
    payer, (_, payee) = s.mine(), s.stranger()
    second = s.cents(20, min(500, payer.balance // 100 - 2))
    first = second + s.cents(10, 90)
    words = f"No, wait. Make it {money(second)} instead."
    return Goal(
        "send_less",
        "I want to send money from my checking account to a friend.",
        answers(amount=f"The amount is {money(first)}.", target=f"To account {payee.id}."),
        (call("list_accounts", customer_id=s.me.id),),
        (call("transfer_funds", from_account=payer.id, to_account=payee.id, amount=units(second)),),
        confirm=f"move {money(first)} from {payer.id} to {payee.id}",
        change=words,
        changed=answers(amount=f"The amount is now {money(second)}.", target=f"To account {payee.id}."),
    )


def think_again(s: Story) -> Goal:
    """The customer wants the money on another account when it is read back."""
    payer, savings = s.mine(), s.mine("savings")
    other = s.account("reserve", s.rng.randint(0, 50_000))
    amount = s.cents(20, min(500, payer.balance // 100 - 2))
    return Goal(
        "think_again",
        "Please put some money from my checking account aside.",
        answers(amount=f"The amount is {money(amount)}.", target=f"To my savings account {savings.id}."),
        (call("list_accounts", customer_id=s.me.id),),
        (call("transfer_funds", from_account=payer.id, to_account=other.id, amount=units(amount)),),
        confirm=f"move {money(amount)} from {payer.id} to {savings.id}",
        change=f"Sorry, I would rather have it on {other.id}, my reserve account.",
        changed=answers(amount=f"The amount is {money(amount)}.", target=f"To my reserve account {other.id}."),
    )


def top_up(s: Story) -> Goal:
    """As much as is missing to a round sum."""
    checking, savings = s.mine(), s.mine("savings")
    wanted = (checking.balance // 10_000 + s.rng.randint(1, 4)) * 10_000
    missing = wanted - checking.balance
    if missing > savings.balance:
        raise Misfit("too little in savings")
    return Goal(
        "top_up",
        "Fill up my checking account from my savings to a certain sum, and tell me how much that took.",
        answers(amount=f"I want exactly {money(wanted)} on it afterwards."),
        (call("list_accounts", customer_id=s.me.id),),
        (call("transfer_funds", from_account=savings.id, to_account=checking.id, amount=units(missing)),),
        Facts((missing,)),
        confirm=f"move {money(missing)} from {savings.id} to {checking.id}",
    )


def if_enough(s: Story) -> Goal:
    """A condition on a balance; what is to be told depends on it."""
    checking, savings = s.mine(), s.mine("savings")
    amount = s.cents(20, min(300, checking.balance // 100 - 1))
    enough = s.rng.random() < 0.5
    bound = max(1, checking.balance // 100 + (-1 if enough else 1) * s.rng.randint(1, 200)) * 100
    enough = checking.balance >= bound
    ask = (
        f"If there is at least {money(bound)} on my checking account, move {money(amount)} from it to my savings "
        "account. If not, change nothing. Either way tell me what is on the checking account in the end."
    )
    return Goal(
        "if_enough",
        ask,
        (),
        (call("list_accounts", customer_id=s.me.id),),
        (call("transfer_funds", from_account=checking.id, to_account=savings.id, amount=units(amount)),)
        if enough
        else (),
        Facts((checking.balance - amount * enough,)),
        confirm=f"move {money(amount)} from {checking.id} to {savings.id}" if enough else "",
    )


def split_gift(s: Story) -> Goal:
    """Two people get a share each."""
    payer = s.mine()
    people = [row for row in s.now.books.accounts.values() if row.customer != s.me.id]
    first, second = s.rng.sample(people, 2)
    amount = s.cents(20, min(300, payer.balance // 200 - 1))
    calls = tuple(
        call("transfer_funds", from_account=payer.id, to_account=row.id, amount=units(amount))
        for row in (first, second)
    )
    return Goal(
        "split_gift",
        "I want to send the same amount to two people, from my checking account.",
        answers(amount=f"Each gets {money(amount)}.", target=f"To the accounts {first.id} and {second.id}."),
        (call("list_accounts", customer_id=s.me.id),),
        calls,
        confirm=f"move {money(amount)} each from {payer.id} to {first.id} and {second.id}",
    )


def plan_payment(s: Story) -> Goal:
    account, payee = s.mine(), s.payee()
    amount, due = s.cents(20, 400), s.today + timedelta(days=s.rng.randint(2, 120))
    return Goal(
        "plan_payment",
        s.pick(("Please schedule a payment from my checking account.", "I have a bill to pay later, from checking.")),
        answers(amount=f"The amount is {money(amount)}.", target=f"To {payee}.", day=f"On {due}."),
        (call("list_accounts", customer_id=s.me.id),),
        (call("schedule_payment", account_id=account.id, payee=payee, amount=units(amount), due_date=str(due)),),
        confirm=f"pay {money(amount)} to {payee} on {due}",
    )


def cancel_payment(s: Story) -> Goal:
    account = s.mine()
    payment = s.payment(account, s.payee(), s.cents(20, 300), s.rng.randint(1, 40))
    s.payment(account, s.payee(), s.cents(20, 300), s.rng.randint(1, 40))
    return Goal(
        "cancel_payment",
        "I want to cancel a scheduled payment from my checking account.",
        answers(entry=f"The one of {money(payment.amount)} to {payment.payee}."),
        (call("list_payments", account_id=account.id),),
        (call("cancel_payment", payment_id=payment.id),),
    )


def move_payment(s: Story) -> Goal:
    """Another day for a payment: cancelled, and scheduled again."""
    account, payee = s.mine(), s.payee()
    payment = s.payment(account, payee, s.cents(20, 300), s.rng.randint(2, 20))
    due = payment.due + timedelta(days=s.rng.randint(5, 30))
    return Goal(
        "move_payment",
        "A scheduled payment from my checking account should go out on another day.",
        answers(entry=f"The one of {money(payment.amount)} to {payee}.", day=f"The new day is {due}."),
        (call("list_payments", account_id=account.id),),
        (
            call("cancel_payment", payment_id=payment.id),
            call(
                "schedule_payment", account_id=account.id, payee=payee, amount=units(payment.amount), due_date=str(due)
            ),
        ),
        confirm=f"pay {money(payment.amount)} to {payee} on {due} instead",
    )


def fee_back(s: Story) -> Goal:
    account = s.mine()
    fee = s.entry(
        account,
        -s.cents(5, 28),
        s.pick(("overdraft fee", "late payment fee", "abroad fee")),
        s.rng.randint(2, 30),
        "fee",
    )
    return Goal(
        "fee_back",
        s.pick(
            (
                "You charged me a fee that I find unfair. Please give it back and tell me how much I get.",
                "I would like a fee refunded. How much do I get?",
            )
        ),
        answers(entry=f"The {fee.text} of {fee.on} on my checking account."),
        (call("list_transactions", account_id=account.id, text="fee"),),
        (call("request_fee_refund", transaction_id=fee.id),),
        Facts((-fee.amount,)),
    )


FAMILIES = (
    own_transfer, send, send_less, think_again, top_up, if_enough, split_gift, plan_payment, cancel_payment,
    move_payment, fee_back,
)  # fmt: skip
CHANGES_MIND = (send_less, think_again)
