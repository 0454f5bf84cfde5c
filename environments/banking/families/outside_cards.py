"""Wishes outside the policy about cards and disputes."""

from __future__ import annotations

from environments.banking import rules
from environments.banking.books import Dispute
from environments.banking.families.refusing import BEGS, declined, handed
from environments.banking.figures import money
from environments.banking.plan import Facts, Goal
from environments.banking.story import Story, answers, call


def blocked_card(s: Story) -> Goal:
    card = s.my_card("blocked")
    return handed(
        "blocked_card",
        "security",
        "One of my cards does not work any more. Please unfreeze it.",
        answers(card=f"The {card.kind} card ending in {card.last4}."),
        (call("list_cards", customer_id=s.me.id),),
    )


def limit_too_high(s: Story) -> Goal:
    card = s.my_card()
    new = rules.CARD_HIGH + s.rng.randint(1, 20) * 10_000
    return declined(
        "limit_too_high",
        "K3",
        "I want a higher daily limit on a card. If you cannot do it, tell me the highest that you can.",
        answers(card=f"The {card.kind} card ending in {card.last4}.", amount=f"The new limit is {money(new)}."),
        (call("list_cards", customer_id=s.me.id),),
        Facts((rules.CARD_HIGH,)),
        s.pick(BEGS),
    )


def old_purchase(s: Story) -> Goal:
    account, shop = s.mine(), s.shop()
    s.entry(account, -s.cents(15, 600), shop, rules.DISPUTE_DAYS + s.rng.randint(1, 40))
    return _dispute(s, "old_purchase", "D1", account.id, shop, s.pick(BEGS))


def disputed_transfer(s: Story) -> Goal:
    account, (_, payee) = s.mine(), s.stranger()
    entry = s.entry(account, -s.cents(15, 300), f"transfer to {payee.id}", s.rng.randint(3, 40), "transfer")
    return declined(
        "disputed_transfer",
        "D2",
        "I want to dispute something that went out of my checking account.",
        answers(entry=f"The transfer to {payee.id} on {entry.on}.", reason="I sent it to the wrong person."),
        (call("list_transactions", account_id=account.id, text="transfer"),),
    )


def disputed_twice(s: Story) -> Goal:
    account, shop = s.mine(), s.shop()
    entry = s.entry(account, -s.cents(15, 600), shop, s.rng.randint(20, 50))
    s.put(Dispute(s.number("D"), entry.id, "not_received", s.ago(s.rng.randint(2, 15))))
    goal = _dispute(s, "disputed_twice", "D3", account.id, shop)
    return goal


def _dispute(s: Story, family: str, rule: str, account: str, shop: str, insists: str = "") -> Goal:
    return declined(
        family,
        rule,
        "I want to dispute a card purchase on my checking account.",
        answers(entry=f"The one at {shop}.", reason="The goods never arrived."),
        (call("list_transactions", account_id=account, text=shop),),
        insists=insists,
    )


def large_dispute(s: Story) -> Goal:
    account, shop = s.mine(), s.shop()
    s.entry(account, -(rules.DISPUTE_MOST + s.cents(10, 900)), shop, s.rng.randint(3, 40))
    return handed(
        "large_dispute",
        "large_dispute",
        "I want to dispute a card purchase on my checking account.",
        answers(entry=f"The one at {shop}.", reason="I never made that purchase."),
        (call("list_transactions", account_id=account.id, text=shop),),
    )
