"""Tools for cards and for disputes about what was paid with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from environments.banking.books import Card, Dispute
from environments.banking.desk import Desk
from environments.banking.figures import cents, money
from gym_core.environment import Session, ToolFault, tool

Reason = Literal["not_mine", "duplicate", "not_received", "wrong_amount"]


class Cards:
    """Freezing, losing, replacing, limits; disputes."""

    @tool
    def freeze_card(self, session: Session, card_id: str) -> str:
        """Freeze an active card."""
        return _step(session, "freeze_card", card_id, ("active",), "frozen")

    @tool
    def unfreeze_card(self, session: Session, card_id: str) -> str:
        """Make a frozen card active again."""
        return _step(session, "unfreeze_card", card_id, ("frozen",), "active")

    @tool
    def report_lost_card(self, session: Session, card_id: str) -> str:
        """Mark a card as lost or stolen, for good."""
        return _step(session, "report_lost_card", card_id, ("active", "frozen"), "lost")

    @tool
    def replace_card(self, session: Session, card_id: str) -> str:
        """Send a new card in place of this one."""
        desk: Desk = session.state.desk
        card = _card(desk, card_id, ("active", "frozen", "lost"))
        number = desk.new_id("cards")
        new = Card(number, card.account, card.kind, f"{int(number[1:]) * 7 % 10_000:04d}", limit=card.limit)
        desk.write("replace_card", replace(card, status="replaced"), new)
        return f"{new.id} is on its way, in place of {card.id}"

    @tool
    def set_card_limit(self, session: Session, card_id: str, daily_limit: float) -> str:
        """Set what a card may spend in a day."""
        desk: Desk = session.state.desk
        card, limit = _card(desk, card_id, ("active", "frozen")), cents(daily_limit, "daily_limit")
        if card.limit == limit:
            raise ToolFault(f"the limit of {card.id} is {money(limit)} already")
        desk.write("set_card_limit", replace(card, limit=limit))
        return f"{card.id} now has a daily limit of {money(limit)}"

    @tool
    def open_dispute(self, session: Session, transaction_id: str, reason: Reason) -> str:
        """Dispute a card purchase."""
        desk: Desk = session.state.desk
        row = desk.find("transactions", transaction_id, "transaction")
        if row.amount >= 0:
            raise ToolFault(f"{row.id} took nothing from the customer")
        dispute = Dispute(desk.new_id("disputes"), row.id, reason, desk.today)
        desk.write("open_dispute", dispute)
        return f"dispute {dispute.id} is open"


def _card(desk: Desk, card_id: str, statuses: tuple[str, ...]) -> Card:
    card = desk.card(card_id)
    if card.status not in statuses:
        raise ToolFault(f"card {card.id} is {card.status}")
    return card


def _step(session: Session, name: str, card_id: str, statuses: tuple[str, ...], status: str) -> str:
    desk: Desk = session.state.desk
    card = _card(desk, card_id, statuses)
    desk.write(name, replace(card, status=status))
    return f"{card.id} is {status}"
