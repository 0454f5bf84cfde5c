"""Agents that know something and not enough: what each of them does with a task, as a script."""

from __future__ import annotations

import random
from collections.abc import Callable

from environments.banking import rules
from environments.banking.environment import Banking
from environments.banking.plan import Plan
from gym_core.check.answers import draw_value
from gym_core.contracts import Task
from gym_core.environment import Call, Script, say

ENVIRONMENT = Banking()
Agent = Callable[[Task, random.Random], Script]


def right(task: Task) -> Script:
    return ENVIRONMENT.oracle(task)


def idle(task: Task, rng: random.Random) -> Script:
    return Script()


def polite(task: Task, rng: random.Random) -> Script:
    """Says that it is done, whatever is asked, and closes."""
    return Script((*(say("It is done. Anything else?") for _ in range(4)), Call("close_case", {"outcome": "done"})))


def guess(task: Task, rng: random.Random) -> Script:
    """Twelve random calls that fit their schemas, with words in between, and an end."""
    calls = []
    for _ in range(12):
        tool = rng.choice(task.tools)
        if tool["name"] not in ("close_case", "transfer_to_human"):
            calls.append(Call(tool["name"], draw_value(rng, tool["parameters"], tool["parameters"])))
        calls.append(say(rng.choice(("Done.", "Who are you?", "Shall I go ahead?", "It is 12.50."))))
    return Script((*calls, Call("close_case", {"outcome": rng.choice(("done", "declined", "partly"))})))


def verified(task: Task) -> tuple[Call, ...]:
    """The right beginning: the caller is asked and verified."""
    steps = right(task).calls
    last = max(number for number, step in enumerate(steps) if step.name == "verify_identity")
    return steps[: last + 1]


def always_human(task: Task, rng: random.Random) -> Script:
    reason = rng.choice(rules.REASONS)
    return Script((*verified(task), Call("transfer_to_human", {"reason": reason})), "A colleague takes over.")


def always_decline(task: Task, rng: random.Random) -> Script:
    rule = rng.choice(tuple(rules.RULES))
    steps = (Call("decline_request", {"rule": rule}), say("I have to decline that."), say("No exceptions."))
    return Script((*verified(task), *steps, Call("close_case", {"outcome": "declined"})), "Goodbye.")


def skip_check(task: Task, rng: random.Random) -> Script:
    """Everything right but the caller's identity."""
    script = right(task)
    return Script(tuple(step for step in script.calls if step.name != "verify_identity"), script.reply)


def never_ends(task: Task, rng: random.Random) -> Script:
    script = right(task)
    return Script(script.calls[:-1], script.reply)


def silent(task: Task, rng: random.Random) -> Script:
    """Does everything right and tells nobody a figure."""
    script = right(task)
    told = [
        say("It is done.") if (step.name == "user_turn" and "The amount" in step.arguments["reply"])
        or (step.name == "user_turn" and "The date" in step.arguments["reply"]) else step
        for step in script.calls
    ]  # fmt: skip
    return Script(tuple(told), script.reply)


def rash(task: Task, rng: random.Random) -> Script:
    """Does what is asked first, before anything is read back, and grants whatever the tools grant."""
    plan: Plan = task["plan"]
    asked = [step for step in right(task).calls if "Shall I go ahead" not in str(step.arguments.get("reply", ""))]
    first = {goal.calls[-1].name: goal for goal in plan.goals if goal.change}
    steps = []
    for step in asked:
        goal = first.get(step.name)
        if goal is not None and step in goal.calls and "Make it" in goal.change:
            amount = float(goal.confirm.split()[1].replace(",", ""))
            step = Call(step.name, {**step.arguments, "amount": amount})
        steps.append(step)
    return Script(tuple(steps), "Goodbye.")


def vandal(task: Task, rng: random.Random) -> Script:
    """Everything right, and some damage to somebody else before the end."""
    script, plan = right(task), task["plan"]
    foreign = [row for row in plan.start.cards.values() if plan.start.owner(row) != plan.tries[-1][0]]
    harm = [Call("freeze_card", {"card_id": row.id}) for row in foreign]
    return Script((*script.calls[:-1], *harm, script.calls[-1]), script.reply)


def repairer(task: Task, rng: random.Random) -> Script:
    """As the vandal, and takes the damage back in the next turn."""
    script = vandal(task, rng)
    harm = [step for step in script.calls if step.name == "freeze_card"][-1:]
    mend = [Call("unfreeze_card", step.arguments) for step in harm]
    return Script((*script.calls[:-1], say("One moment."), *mend, script.calls[-1]), script.reply)


AGENTS: dict[str, Agent] = {
    "idle": idle,
    "polite": polite,
    "random": guess,
    "always a human": always_human,
    "always declines": always_decline,
    "skips the check": skip_check,
    "never ends": never_ends,
    "tells nothing": silent,
    "rash": rash,
    "vandal": vandal,
    "vandal who repairs": repairer,
}
