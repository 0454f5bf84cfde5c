"""Wishes about cards, disputes, accounts, contact details and loans."""

from __future__ import annotations

from environments.banking.books import Card
from environments.banking.figures import money
from environments.banking.names import EMAIL_HOSTS, STREETS
from environments.banking.plan import Facts, Goal
from environments.banking.story import Misfit, Story, answers, call, units


def _named(card: Card) -> str:
    return f"The {card.kind} card ending in {card.last4}."


def _card_goal(s: Story, family: str, ask: str, card: Card, *steps: str) -> Goal:
    return Goal(
        family,
        ask,
        answers(card=_named(card)),
        (call("list_cards", customer_id=s.me.id),),
        tuple(call(step, card_id=card.id) for step in steps),
    )


def freeze(s: Story) -> Goal:
    ask = s.pick(("I cannot find a card of mine. Please freeze it for now.", "Please freeze one of my cards."))
    return _card_goal(s, "freeze", ask, s.my_card(), "freeze_card")


def unfreeze(s: Story) -> Goal:
    ask = s.pick(("I found my card again. Please unfreeze it.", "Please make a frozen card of mine work again."))
    return _card_goal(s, "unfreeze", ask, s.my_card("frozen"), "unfreeze_card")


def lost(s: Story) -> Goal:
    ask = s.pick(("My card was stolen, I need a new one.", "I have lost a card for good. Please send me another."))
    return _card_goal(s, "lost", ask, s.my_card(), "report_lost_card", "replace_card")


def damaged(s: Story) -> Goal:
    ask = "The chip of a card of mine is broken. I still have the card, but I need a new one."
    return _card_goal(s, "damaged", ask, s.my_card(), "replace_card")


def freeze_all(s: Story) -> Goal:
    """Every card that is still active."""
    s.my_card()
    cards = [row for row in s.now.books.cards.values() if s.now.books.owner(row) == s.me.id and row.status == "active"]
    return Goal(
        "freeze_all",
        "My bag is gone. Please freeze every card of mine that works.",
        looks=(call("list_cards", customer_id=s.me.id),),
        calls=tuple(call("freeze_card", card_id=card.id) for card in cards),
    )


def limit(s: Story) -> Goal:
    card = s.my_card()
    new = s.rng.choice([value for value in range(20_000, 300_001, 10_000) if value != card.limit])
    return Goal(
        "limit",
        s.pick(("I want another daily limit on a card.", "Please change the limit of a card of mine.")),
        answers(card=_named(card), amount=f"The new limit is {money(new)}."),
        (call("list_cards", customer_id=s.me.id),),
        (call("set_card_limit", card_id=card.id, daily_limit=units(new)),),
    )


def _purchase(s: Story, days: int | None = None, amount: int | None = None) -> tuple[str, str, str]:
    """A new purchase from the checking account: its id, the account's and the shop."""
    account, shop = s.mine(), s.shop()
    entry = s.entry(account, -(amount or s.cents(15, 600)), shop, days or s.rng.randint(2, 45))
    return entry.id, account.id, shop


DISPUTES = {
    "not_mine": "I never made that purchase.",
    "not_received": "The goods never arrived.",
    "wrong_amount": "They took another amount than we had agreed on.",
}


def dispute(s: Story) -> Goal:
    entry, account, shop = _purchase(s)
    reason = s.pick(tuple(DISPUTES))
    return Goal(
        "dispute",
        s.pick(("I want to dispute a card purchase.", "There is a purchase on my checking account to be disputed.")),
        answers(entry=f"The one at {shop}.", reason=DISPUTES[reason]),
        (call("list_transactions", account_id=account, text=shop),),
        (call("open_dispute", transaction_id=entry, reason=reason),),
    )


def dispute_double(s: Story) -> Goal:
    """Of two equal purchases the later one."""
    account, shop, amount = s.mine(), s.shop(), s.cents(15, 300)
    days = s.rng.randint(3, 30)
    s.entry(account, -amount, shop, days + 1)
    later = s.entry(account, -amount, shop, days)
    return Goal(
        "dispute_double",
        "A shop took the same amount from my checking account twice. Please dispute the later of the two as a "
        "duplicate, and tell me which amount and day you have disputed.",
        answers(entry=f"It was {shop}."),
        (call("list_transactions", account_id=account.id, text=shop),),
        (call("open_dispute", transaction_id=later.id, reason="duplicate"),),
        Facts((amount,), (later.on,)),
    )


def new_email(s: Story) -> Goal:
    value = f"{s.me.name.split()[1].lower()}{s.rng.randint(10, 99)}@{s.pick(EMAIL_HOSTS)}"
    return _contact(s, "email", value)


def new_phone(s: Story) -> Goal:
    return _contact(s, "phone", f"+49 {s.rng.randint(150, 179)} {s.rng.randint(1_000_000, 9_999_999)}")


def new_address(s: Story) -> Goal:
    return _contact(s, "address", f"{s.rng.randint(100, 199)} {s.pick(STREETS)}")


def _contact(s: Story, field: str, value: str) -> Goal:
    return Goal(
        f"new_{field}",
        f"My {field} has changed, please update it.",
        answers(value=f"The new one is {value}"),
        (call("get_customer", customer_id=s.me.id),),
        (call("update_contact", customer_id=s.me.id, field=field, value=value),),
    )


def open_reserve(s: Story) -> Goal:
    if len(s.all_mine()) > 3:
        raise Misfit("too many accounts")
    return Goal(
        "open_reserve",
        s.pick(("I would like to open another account.", "Please open an account for me.")),
        answers(kind="A reserve account."),
        (call("list_accounts", customer_id=s.me.id),),
        (call("open_account", customer_id=s.me.id, kind="reserve"),),
    )


def open_and_fund(s: Story) -> Goal:
    """The new account's id is known only once it is open."""
    if len(s.all_mine()) > 3:
        raise Misfit("too many accounts")
    checking = s.mine()
    amount = s.cents(20, min(400, checking.balance // 100 - 1))
    new = s.now.new_id("accounts")
    return Goal(
        "open_and_fund",
        "I want a new reserve account, and some money from my checking account on it.",
        answers(amount=f"The amount is {money(amount)}."),
        (call("list_accounts", customer_id=s.me.id),),
        (
            call("open_account", customer_id=s.me.id, kind="reserve"),
            call("transfer_funds", from_account=checking.id, to_account=new, amount=units(amount)),
        ),
        confirm=f"open a reserve account and move {money(amount)} to it from {checking.id}",
    )


def close_empty(s: Story) -> Goal:
    account = s.account("reserve", 0)
    return Goal(
        "close_empty",
        "I do not need one of my accounts any more, please close it.",
        answers(source=f"The account {account.id}, it is empty."),
        (call("list_accounts", customer_id=s.me.id),),
        (call("close_account", account_id=account.id),),
        confirm=f"close {account.id}",
    )


def sweep_and_close(s: Story) -> Goal:
    """What is left on it goes to the checking account first."""
    account, checking = s.account("reserve", s.cents(10, 400)), s.mine()
    return Goal(
        "sweep_and_close",
        "Please close one of my accounts. What is left on it goes to my checking account; how much is that?",
        answers(source=f"The account {account.id}."),
        (call("list_accounts", customer_id=s.me.id),),
        (
            call("transfer_funds", from_account=account.id, to_account=checking.id, amount=units(account.balance)),
            call("close_account", account_id=account.id),
        ),
        Facts((account.balance,)),
        confirm=f"move {money(account.balance)} from {account.id} to {checking.id} and close {account.id}",
    )


def loan(s: Story) -> Goal:
    if any(row.customer == s.me.id for row in s.now.books.loans.values()):
        raise Misfit("has a loan")
    months = s.rng.choice((12, 24, 36, 48))
    amount = s.rng.randint(10, 120) * 10_000
    income = amount // months * 100 // 30 + s.rng.randint(20_000, 150_000)
    return Goal(
        "loan",
        "I would like to apply for a loan.",
        answers(
            amount=f"I need {money(amount)}.",
            months=f"Over {months} months.",
            income=f"I earn {money(income)} a month.",
        ),
        (call("list_loans", customer_id=s.me.id),),
        (call("apply_for_loan", customer_id=s.me.id, amount=units(amount), months=months),),
        confirm=f"apply for {money(amount)} over {months} months",
    )


FAMILIES = (
    freeze, unfreeze, lost, damaged, freeze_all, limit, dispute, dispute_double, new_email, new_phone, new_address,
    open_reserve, open_and_fund, close_empty, sweep_and_close, loan,
)  # fmt: skip
LAST = (freeze_all, open_and_fund)
"""Of these the right calls depend on everything that there is: nothing may be added after them."""
