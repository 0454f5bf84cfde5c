"""Tools that look: who is calling, what the customer has, what the policy says."""

from __future__ import annotations

from datetime import date
from typing import Literal

from environments.banking import rules
from environments.banking.books import Account, Card, Dispute, Loan, Payment, Transaction
from environments.banking.desk import Desk
from environments.banking.figures import day, money
from gym_core.environment import Session, ToolFault, tool

MOST_LINES = 40
Topic = Literal["identity", "money", "payments", "cards", "disputes", "fees", "contact", "accounts", "loans", "general"]


class Looking:
    """Reads, and the check of the caller's identity."""

    @tool
    def verify_identity(self, session: Session, customer_id: str, birth_date: str, security_word: str) -> str:
        """Check who is calling. Needed before anything is looked up or changed.

        Args:
            customer_id: six digits
            birth_date: YYYY-MM-DD
            security_word: as the caller says it
        """
        if session.state.desk.check(customer_id, day(birth_date, "birth_date"), security_word):
            return "verified"
        raise ToolFault("the details do not match")

    @tool(read_only=True)
    def get_customer(self, session: Session, customer_id: str) -> str:
        """Name, date of birth and contact details of a customer."""
        desk = _looking(session)
        row = desk.find("customers", customer_id, "customer")
        return f"{row.name}, born {row.birth_date}; email {row.email}; phone {row.phone}; address {row.address}"

    @tool(read_only=True)
    def list_accounts(self, session: Session, customer_id: str) -> str:
        """All accounts of a customer, with balances."""
        desk = _looking(session)
        owner = desk.find("customers", customer_id, "customer").id
        return _lines([_account(row) for row in desk.books.accounts.values() if row.customer == owner])

    @tool(read_only=True)
    def get_balance(self, session: Session, account_id: str) -> str:
        """One account with its balance."""
        return _account(_looking(session).account(account_id))

    @tool(read_only=True)
    def list_transactions(self, session: Session, account_id: str, since: str = "", text: str = "") -> str:
        """Entries of an account, newest first.

        Args:
            since: YYYY-MM-DD; empty for all
            text: only entries that contain it, in any case
        """
        desk = _looking(session)
        account = desk.account(account_id)
        first = day(since, "since") if since else date.min
        found = [
            row
            for row in desk.books.transactions.values()
            if row.account == account.id and row.on >= first and text.strip().casefold() in row.text.casefold()
        ]
        found.sort(key=lambda row: (row.on, row.id), reverse=True)
        return _lines([_transaction(row) for row in found])

    @tool(read_only=True)
    def list_cards(self, session: Session, customer_id: str) -> str:
        """All cards of a customer."""
        desk = _looking(session)
        owner = desk.find("customers", customer_id, "customer").id
        return _lines([_card(row) for row in desk.books.cards.values() if desk.books.owner(row) == owner])

    @tool(read_only=True)
    def list_payments(self, session: Session, account_id: str) -> str:
        """Scheduled and cancelled payments of an account."""
        desk = _looking(session)
        account = desk.account(account_id)
        return _lines([_payment(row) for row in desk.books.payments.values() if row.account == account.id])

    @tool(read_only=True)
    def get_dispute(self, session: Session, transaction_id: str) -> str:
        """The dispute of a transaction, if there is one."""
        desk = _looking(session)
        row = desk.find("transactions", transaction_id, "transaction")
        return _lines([_dispute(one) for one in desk.books.disputes.values() if one.transaction == row.id])

    @tool(read_only=True)
    def list_loans(self, session: Session, customer_id: str) -> str:
        """All loans of a customer."""
        desk = _looking(session)
        owner = desk.find("customers", customer_id, "customer").id
        return _lines([_loan(row) for row in desk.books.loans.values() if row.customer == owner])

    @tool(read_only=True)
    def get_policy(self, session: Session, topic: Topic) -> str:
        """The rules of a topic."""
        return rules.document((topic,))


def _looking(session: Session) -> Desk:
    desk: Desk = session.state.desk
    desk.known()
    return desk


def _lines(found: list[str]) -> str:
    more = [f"… {len(found) - MOST_LINES} more"] if len(found) > MOST_LINES else []
    return "\n".join(found[:MOST_LINES] + more) or "none"


def _account(row: Account) -> str:
    return f"{row.id} {row.kind}, balance {money(row.balance)}, {row.status}"


def _transaction(row: Transaction) -> str:
    return f"{row.id} {row.on} {money(row.amount)} {row.kind}: {row.text}"


def _card(row: Card) -> str:
    return f"{row.id} {row.kind} card ending {row.last4}, {row.status}, account {row.account}, limit {money(row.limit)}"


def _payment(row: Payment) -> str:
    return f"{row.id} {money(row.amount)} to {row.payee}, due {row.due}, {row.status}"


def _dispute(row: Dispute) -> str:
    return f"{row.id} {row.reason}, opened {row.opened}, {row.status}"


def _loan(row: Loan) -> str:
    return f"{row.id} {money(row.amount)} over {row.months} months, {row.status}"
