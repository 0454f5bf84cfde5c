"""Tools that move money, now or later."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from environments.banking import rules
from environments.banking.books import Payment
from environments.banking.desk import Desk
from environments.banking.figures import cents, day, money
from gym_core.environment import Session, ToolFault, tool

MAX_PAYEE = 60


class Moving:
    """Transfers, scheduled payments, refunds."""

    @tool
    def transfer_funds(self, session: Session, from_account: str, to_account: str, amount: float) -> str:
        """Move money between two accounts of this bank, at once."""
        desk: Desk = session.state.desk
        moved = cents(amount)
        payer, payee = desk.open_account(from_account), desk.open_account(to_account)
        if payer.id == payee.id:
            raise ToolFault("both accounts are the same")
        if payer.balance < moved:
            raise ToolFault(f"account {payer.id} has only {money(payer.balance)}")
        own = " (own)" if payer.customer == payee.customer else ""
        desk.write(
            "transfer_funds",
            replace(payer, balance=payer.balance - moved),
            replace(payee, balance=payee.balance + moved),
            desk.transaction(payer, -moved, f"transfer to {payee.id}{own}", "transfer"),
            desk.transaction(payee, moved, f"transfer from {payer.id}{own}", "transfer", place=1),
        )
        return f"moved {money(moved)}; {payer.id} now has {money(payer.balance - moved)}"

    @tool
    def schedule_payment(self, session: Session, account_id: str, payee: str, amount: float, due_date: str) -> str:
        """Plan a payment to somebody outside the bank.

        Args:
            payee: who is paid, by name
            due_date: YYYY-MM-DD
        """
        desk: Desk = session.state.desk
        account, due, paid = desk.open_account(account_id), day(due_date, "due_date"), cents(amount)
        name = " ".join(payee.split())
        if not 0 < len(name) <= MAX_PAYEE:
            raise ToolFault(f"the payee needs a name of at most {MAX_PAYEE} characters")
        if not desk.today < due <= desk.today + timedelta(days=2 * rules.PAYMENT_DAYS):
            raise ToolFault("the due date is not in the future, or too far")
        payment = Payment(desk.new_id("payments"), account.id, name, paid, due)
        desk.write("schedule_payment", payment)
        return f"scheduled as {payment.id}"

    @tool
    def cancel_payment(self, session: Session, payment_id: str) -> str:
        """Cancel a scheduled payment."""
        desk: Desk = session.state.desk
        payment: Payment = desk.find("payments", payment_id, "payment")
        if payment.status != "scheduled":
            raise ToolFault(f"payment {payment.id} is {payment.status}")
        desk.write("cancel_payment", replace(payment, status="cancelled"))
        return f"{payment.id} is cancelled"

    @tool
    def request_fee_refund(self, session: Session, transaction_id: str) -> str:
        """Give a fee back to the customer, at once."""
        desk: Desk = session.state.desk
        fee = desk.find("transactions", transaction_id, "transaction")
        account = desk.open_account(fee.account)
        if fee.amount >= 0:
            raise ToolFault(f"{fee.id} took nothing from the customer")
        back = f"refund of {fee.id}"
        if any(row.text == back for row in desk.books.transactions.values()):
            raise ToolFault(f"{fee.id} was refunded already")
        desk.write(
            "request_fee_refund",
            replace(account, balance=account.balance - fee.amount),
            desk.transaction(account, -fee.amount, back, "refund"),
            granted=-fee.amount,
        )
        return f"refunded {money(-fee.amount)} to {account.id}"
