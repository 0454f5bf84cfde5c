"""Banking: a customer in a chat, a desk with tools, a policy; judged by books, words and rules after every turn."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, ClassVar

from environments.banking.agent import script_of
from environments.banking.customer import Customer
from environments.banking.desk import Desk
from environments.banking.generator import LEVELS, make
from environments.banking.llm_customer import LlmCustomer
from environments.banking.plan import Plan
from environments.banking.simulated.judged import gated, judged
from environments.banking.simulated.rows import read_row
from environments.banking.simulated.talk import Talk
from environments.banking.speaker import Settings
from environments.banking.tools.cards import Cards
from environments.banking.tools.looking import Looking
from environments.banking.tools.moving import Moving
from environments.banking.tools.serving import Serving
from environments.banking.turns import Reach
from environments.banking.verdict import judge as judge_books
from gym_core.environment import Environment, Reply, Script, Session, Task, Verdict
from gym_core.judge.judge import Judge


@dataclass(slots=True)
class Chat:
    """A session's state: the desk, who sits on the other side, and the turns that left the books off the plan."""

    desk: Desk
    customer: Customer | LlmCustomer
    reach: Reach
    strays: list[int] = field(default_factory=list)


class Banking(Looking, Moving, Cards, Serving, Environment):
    """Serve a bank's customer by the policy; 1.0 for right books, words and ending with no rule broken, else 0.0."""

    name = "banking"
    version = "1.0.0"
    levels: ClassVar[range] = LEVELS
    max_steps = 60
    max_turns = 30

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        return make(rng, level)

    def ingest(self, task: Task) -> Task:
        """Takes published rows whose customer and tools a model plays (README)."""
        read_row(task)
        return task

    def answers(self, task: Task) -> bool:
        return task.ref is None

    async def answer(self, session: Session, name: str, arguments: dict[str, Any]) -> str:
        talk: Talk = session.state
        return await talk.returned(name, arguments)

    def setup(self, task: Task) -> Chat | Talk:
        if task.ref is None:
            return Talk.opened(read_row(task))
        plan: Plan = task["plan"]
        settings = Settings.from_environ()
        customer = LlmCustomer(plan, settings) if settings else Customer(plan.goals, plan.tries)
        return Chat(Desk.opened(plan.start, plan.today), customer, Reach(plan))

    async def user(self, task: Task, session: Session, reply: Reply) -> str | None:
        """The customer's next words; the books are compared with the plan before they are said."""
        if isinstance(session.state, Talk):
            return await session.state.heard(reply.text)
        chat: Chat = session.state
        self._look(task, session)
        said = chat.customer.answer(reply.text, chat.desk)
        words = said if said is None or isinstance(said, str) else await said
        chat.desk.left = words is None
        return words

    def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:
        if task.ref is None:
            return gated(session.state if isinstance(session.state, Talk) else None)
        if not isinstance(session.state, Chat):
            session = Session(session_id="", task=task, state=self.setup(task))
        self._look(task, session)
        chat: Chat = session.state
        heard = [turn.reply.text for turn in session.turns]
        if not chat.desk.left:
            heard.append(reply.text)
        return judge_books(task["plan"], chat.desk, chat.strays, heard)

    def judge_decides(self, task: Task) -> bool:
        return task.ref is None

    async def judge(
        self, task: Task, session: Session, reply: Reply, verdict: Verdict, judge: Judge
    ) -> float | Verdict:
        return await judged(session.state if isinstance(session.state, Talk) else None, verdict, judge)

    def oracle(self, task: Task) -> Script:
        if task.ref is not None:
            return script_of(task["plan"])
        raise NotImplementedError("the best service of a simulated customer is not known")

    @staticmethod
    def _look(task: Task, session: Session) -> None:
        chat: Chat = session.state
        turn = len(session.turns)
        if turn not in chat.strays and not chat.reach.holds(chat.desk.books, chat.customer.at):
            chat.strays.append(turn)
        if isinstance(chat.customer, Customer) and chat.customer.overrun(chat.desk):
            chat.desk.violations.append("read_back")
