"""Ledger: a bank with tools; a task is done when the books end exactly as they should and the asked number is told."""

from __future__ import annotations

import random
from typing import Any, ClassVar

from environments.ledger.bank import Bank
from environments.ledger.generator import LEVELS, make
from environments.ledger.rows import read_row
from environments.ledger.verdict import Goal, judge
from gym_core.environment import Call, Environment, Reply, Script, Session, Task, ToolFault, Verdict, tool
from gym_core.errors import BadRow


class Ledger(Environment):
    """Change the books as asked, and nothing else; 1.0 for exactly the expected final state and answer, else 0.0."""

    name = "ledger"
    version = "1.0.0"
    levels: ClassVar[range] = LEVELS
    max_steps = 20
    state_type: ClassVar[type] = Bank

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        return make(rng, level)

    def ingest(self, task: Task) -> Task:
        """Takes rows with `world` and `expected` (README). Raises `BadRow` for anything else."""
        return read_row(task, self.tool_specs())

    def setup(self, task: Task) -> Bank:
        return Bank.opened(task["books"])

    @tool
    def find_account(self, session: Session, owner: str) -> str:
        """Account id of an owner."""
        found = session.state.find(owner)
        if not found:
            raise ToolFault(f"no account of {owner[:40]}")
        return " ".join(account.id for account in found)

    @tool
    def get_balance(self, session: Session, account: str) -> str:
        """Balance of an account."""
        found = session.state.account(account)
        return f"{found.balance} frozen" if found.frozen else f"{found.balance}"

    @tool
    def deposit(self, session: Session, account: str, amount: int) -> str:
        """Add money."""
        session.state.deposit(account, amount)
        return "ok"

    @tool
    def withdraw(self, session: Session, account: str, amount: int) -> str:
        """Take money out."""
        session.state.withdraw(account, amount)
        return "ok"

    @tool
    def transfer(self, session: Session, source: str, target: str, amount: int) -> str:
        """Move money."""
        session.state.transfer(source, target, amount)
        return "ok"

    @tool
    def freeze_account(self, session: Session, account: str) -> str:
        """Block an account."""
        session.state.freeze(account, True)
        return "ok"

    @tool
    def unfreeze_account(self, session: Session, account: str) -> str:
        """Unblock an account."""
        session.state.freeze(account, False)
        return "ok"

    def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:
        bank = session.state if isinstance(session.state, Bank) else self.setup(task)
        return judge(Goal(task["books"], task["expected"], task["answer"]), bank, reply.text)

    def oracle(self, task: Task) -> Script:
        """The script a task was made with; for rows from outside the one they bring, if any."""
        script = task.get("script")
        if not isinstance(script, Script):
            calls = task.get("calls")
            if not isinstance(calls, list):
                raise BadRow("this row brings no `calls`, so nothing is known to solve it", field="calls")
            answer = task["answer"]
            script = Script(
                tuple(Call(call["name"], call["arguments"]) for call in calls),
                "done" if answer is None else str(answer),
            )
        return script
