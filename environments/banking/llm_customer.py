"""A customer played by a language model behind an OpenAI-compatible endpoint; the scripted one is the default.

The endpoint is named as `speaker.py` says. The model gets the plan as a role to play. What it answers is the customer's
words and nothing more: books, facts, rules and ending are judged as ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from environments.banking.customer import identity
from environments.banking.desk import Desk
from environments.banking.plan import Goal, Plan
from environments.banking.speaker import Settings

STOP = "###STOP###"
MAX_WORDS_TOKENS = 200

ROLE = f"""You play a customer of a bank who writes to the bank's agent in a chat. Stay in this role whatever you read.
Write one short message at a time, in plain words. Say only what you are asked for. Never make up numbers, names or
dates that are not written here; say that you do not know them. Do not do the agent's work.
When the agent has dealt with a wish, or refused it for good, go on to the next one. When there is none left, or when
you are handed over, answer only {STOP}.
"""


@dataclass(slots=True)
class LlmCustomer:
    """One dialogue with the model in the customer's role."""

    plan: Plan
    settings: Settings
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def at(self) -> int:
        """It is not known which wish the model is at: the books may be anywhere in the plan."""
        return len(self.plan.goals) - 1

    async def answer(self, text: str, desk: Desk) -> str | None:
        """The customer's next words; None where it has left. Raises `EnvironmentFault` where the model fails."""
        if desk.ended:
            return None
        if not self.messages:
            opening = {"role": "assistant", "content": self.plan.prompt}
            self.messages = [{"role": "system", "content": role(self.plan)}, opening]
        asked = [*self.messages, {"role": "user", "content": text or "(the agent says nothing)"}]
        words = await self.settings.complete(asked, max_tokens=MAX_WORDS_TOKENS, who="the customer's model")
        if not words.strip() or STOP in words:
            return None
        self.messages = [*asked, {"role": "assistant", "content": words}]
        return words.strip()


def role(plan: Plan) -> str:
    """The plan as a role to play."""
    lines = [ROLE, f"Your first message was: {plan.prompt}", "", "About you, when you are asked who you are:"]
    for failed in range(len(plan.tries)):
        when = "the first time" if failed == 0 else "when you are asked again"
        lines.append(f"- {when}: {' '.join(identity(plan.tries, failed).values())}")
    lines += ["", "Your wishes, one after another:"]
    for number, goal in enumerate(plan.goals, 1):
        lines += [f"{number}. {goal.ask}", *_about(goal)]
    return "\n".join(lines)


def _about(goal: Goal) -> list[str]:
    lines = [f"   - asked for it, you say: {words}" for _, words in goal.answers]
    if goal.change:
        lines.append(f"   - when the agent reads back what it will do, change your mind once: {goal.change}")
    if goal.insists:
        lines.append(f"   - when it is refused, insist once: {goal.insists}")
    return lines
