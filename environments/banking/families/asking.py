"""Wishes that change nothing: the customer wants to be told a figure or a date."""

from __future__ import annotations

from environments.banking import rules
from environments.banking.books import Dispute
from environments.banking.plan import Facts, Goal
from environments.banking.story import Story, answers, call


def balance(s: Story) -> Goal:
    kind = s.pick(("checking", "savings"))
    account = s.mine(kind)
    return Goal(
        "balance",
        s.pick(("I would like to know what is on one of my accounts.", "How much money do I have on an account?")),
        answers(source=f"My {kind} account."),
        (call("list_accounts", customer_id=s.me.id),),
        facts=Facts((account.balance,)),
    )


def total(s: Story) -> Goal:
    return Goal(
        "total",
        s.pick(("How much do I have in all my accounts together?", "Please add up all my accounts for me.")),
        looks=(call("list_accounts", customer_id=s.me.id),),
        facts=Facts((sum(row.balance for row in s.all_mine()),)),
    )


def spent(s: Story) -> Goal:
    account, shop = s.mine(), s.shop()
    amounts = [s.cents(5, 90) for _ in range(s.rng.randint(2, 4))]
    for days, amount in enumerate(amounts):
        s.entry(account, -amount, shop, 3 + 5 * days)
    return Goal(
        "spent",
        "How much have I spent at one shop, all in all, from my checking account?",
        answers(entry=f"The shop is {shop}."),
        (call("list_transactions", account_id=account.id, text=shop),),
        facts=Facts((sum(amounts),)),
    )


def last_purchase(s: Story) -> Goal:
    account, shop = s.mine(), s.shop()
    amount, days = s.cents(5, 150), s.rng.randint(2, 25)
    bought = s.entry(account, -amount, shop, days)
    s.entry(account, -s.cents(5, 150), shop, days + s.rng.randint(5, 20))
    return Goal(
        "last_purchase",
        "On which day did I last pay at a shop with my checking account, and how much was it?",
        answers(entry=f"I mean {shop}."),
        (call("list_transactions", account_id=account.id, text=shop),),
        facts=Facts((amount,), (bought.on,)),
    )


def card_limit(s: Story) -> Goal:
    card = s.my_card()
    return Goal(
        "card_limit",
        "What is the daily limit of a card of mine?",
        answers(card=f"The card ending in {card.last4}."),
        (call("list_cards", customer_id=s.me.id),),
        facts=Facts((card.limit,)),
    )


def next_payment(s: Story) -> Goal:
    account = s.mine()
    payment = s.payment(account, s.payee(), s.cents(20, 300), s.rng.randint(2, 28))
    s.payment(account, s.payee(), s.cents(20, 300), s.rng.randint(2, 28))
    return Goal(
        "next_payment",
        "When is a payment of mine due, and how much is it?",
        answers(entry=f"The one to {payment.payee}."),
        (call("list_payments", account_id=account.id),),
        facts=Facts((payment.amount,), (payment.due,)),
    )


def dispute_date(s: Story) -> Goal:
    account, shop = s.mine(), s.shop()
    entry = s.entry(account, -s.cents(20, 300), shop, s.rng.randint(20, 50))
    opened = s.ago(s.rng.randint(2, 15))
    s.put(Dispute(s.number("D"), entry.id, "not_received", opened))
    return Goal(
        "dispute_date",
        "I disputed a purchase from my checking account. Since when is the dispute open?",
        answers(entry=f"The purchase at {shop}."),
        (
            call("list_transactions", account_id=account.id, text=shop),
            call("get_dispute", transaction_id=entry.id),
        ),
        facts=Facts(dates=(opened,)),
    )


def policy_number(s: Story) -> Goal:
    question, topic, number = s.rng.choice(
        (
            ("How many days do I have to dispute a purchase?", "disputes", rules.DISPUTE_DAYS * 100),
            ("What is the highest daily limit that a card can have?", "cards", rules.CARD_HIGH),
            ("How much can I send to other people in one day?", "money", rules.TRANSFER_DAY),
            ("Up to which amount are fees refunded?", "fees", rules.REFUND_MOST),
            ("What is the largest loan that you offer?", "loans", rules.LOAN_HIGH),
        )
    )
    return Goal("policy_number", question, looks=(call("get_policy", topic=topic),), facts=Facts((number,)))


def income(s: Story) -> Goal:
    """The entry that brought money, among those that took some."""
    account = s.mine()
    amount = s.cents(900, 3500)
    got = s.entry(
        account, amount, s.pick(("salary Falke Ltd", "salary Nova Ltd", "pension fund")), s.rng.randint(1, 27), "salary"
    )
    return Goal(
        "income",
        "On which day did my last salary or pension arrive on my checking account?",
        looks=(call("list_transactions", account_id=account.id),),
        facts=Facts(dates=(got.on,)),
    )


def what_it_took(s: Story) -> Goal:
    """Fees of an account, added up."""
    account = s.mine("savings")
    fees = [s.cents(2, 15) for _ in range(s.rng.randint(2, 3))]
    for number, fee in enumerate(fees):
        s.entry(account, -fee, s.pick(("custody fee", "statement fee", "paper mail fee")), 4 + 9 * number, "fee")
    return Goal(
        "what_it_took",
        "How much did you take in fees from my savings account, all together?",
        looks=(call("list_transactions", account_id=account.id),),
        facts=Facts((sum(fees),)),
    )


FAMILIES = (
    balance, total, spent, last_purchase, card_limit, next_payment, dispute_date, policy_number, income, what_it_took,
)  # fmt: skip
LAST = (total,)
"""Its answer depends on everything that there is."""
