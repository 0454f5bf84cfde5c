"""Tools for accounts, contact details and loans, and those that decline a request or end the conversation."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

from environments.banking import rules
from environments.banking.books import Account, Customer, Loan
from environments.banking.desk import Desk
from environments.banking.figures import cents
from gym_core.environment import Session, ToolFault, tool

HandOver = Literal[
    "identity", "fraud", "security", "large_dispute", "documents", "last_account", "legal", "customer_wish"
]
MAX_VALUE = 100
SHAPES = {
    "email": re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+"),
    "phone": re.compile(r"\+?[0-9][0-9 ]{5,18}[0-9]"),
    "address": re.compile(r"\S.{4,}\S"),
}


class Serving:
    """Accounts, contact, loans; declining, handing over, closing."""

    @tool
    def update_contact(
        self, session: Session, customer_id: str, field: Literal["email", "phone", "address"], value: str
    ) -> str:
        """Change a contact detail of a customer."""
        desk: Desk = session.state.desk
        row: Customer = desk.find("customers", customer_id, "customer")
        new = " ".join(value.split())
        if len(new) > MAX_VALUE or not SHAPES[field].fullmatch(new):
            raise ToolFault(f"that is no {field}")
        contact = {"email": row.email, "phone": row.phone, "address": row.address, field: new}
        changed = replace(row, email=contact["email"], phone=contact["phone"], address=contact["address"])
        desk.write("update_contact", changed)
        return f"the {field} is changed"

    @tool
    def open_account(self, session: Session, customer_id: str, kind: Literal["checking", "savings", "reserve"]) -> str:
        """Open an empty account."""
        desk: Desk = session.state.desk
        owner: Customer = desk.find("customers", customer_id, "customer")
        account = Account(desk.new_id("accounts"), owner.id, kind, 0)
        desk.write("open_account", account)
        return f"{account.id} is open"

    @tool
    def close_account(self, session: Session, account_id: str) -> str:
        """Close an empty account for good."""
        desk: Desk = session.state.desk
        account = desk.open_account(account_id)
        if account.balance:
            raise ToolFault(f"account {account.id} is not empty")
        desk.write("close_account", replace(account, status="closed"))
        return f"{account.id} is closed"

    @tool
    def apply_for_loan(self, session: Session, customer_id: str, amount: float, months: int) -> str:
        """Enter an application for a loan."""
        desk: Desk = session.state.desk
        owner: Customer = desk.find("customers", customer_id, "customer")
        if not 0 < months <= 600:
            raise ToolFault("months must be from 1 to 600")
        loan = Loan(desk.new_id("loans"), owner.id, cents(amount), months)
        desk.write("apply_for_loan", loan)
        return f"application {loan.id} is entered"

    @tool
    def decline_request(self, session: Session, rule: str) -> str:
        """Decline what the customer asks for.

        Args:
            rule: the rule of the policy that forbids it, for example M2
        """
        name = rule.strip().upper()
        if name not in rules.RULES:
            raise ToolFault(f"the policy has no rule {rule[:10]!r}")
        session.state.desk.decline(name)
        return f"declined under {name}"

    @tool
    def transfer_to_human(self, session: Session, reason: HandOver) -> str:
        """Hand the conversation over to a human; it ends here."""
        session.state.desk.hand_over(reason)
        return "handed over"

    @tool
    def close_case(self, session: Session, outcome: Literal["done", "declined", "partly"]) -> str:
        """End the conversation, when the customer needs nothing more.

        Args:
            outcome: done where nothing was declined, declined where every request was, else partly
        """
        session.state.desk.close(outcome)
        return "closed"
