"""The perfect agent: knows the plan, still asks for everything it needs, reads back, tells, declines, and ends.

What it does is a script; that the customer answers it as the plan has it is what the tests show.
"""

from __future__ import annotations

from environments.banking.figures import money
from environments.banking.plan import Facts, Goal, Plan
from gym_core.environment import Call, Script, say

QUESTIONS = {
    "amount": "What is the exact amount?",
    "source": "Which account is it?",
    "target": "To whom should it go, what is the target?",
    "card": "Which card is it?",
    "entry": "Which entry is it, at which shop?",
    "day": "On which day?",
    "reason": "What is the reason?",
    "value": "What is the new value, what should it be?",
    "months": "Over how many months?",
    "income": "What is your monthly income?",
    "kind": "Which kind of account?",
}
BY_ACCOUNT = ("list_transactions", "list_payments")
"""Looks that need the number of an account."""

ASK_IDENTITY = "Please tell me your customer number, your date of birth and your security word."
ASK_AGAIN = "The details do not match. Please tell me your customer number, date of birth and security word once more."
FAREWELL = "You are welcome. Have a good day, goodbye."


def script_of(plan: Plan) -> Script:
    """All steps of the dialogue, and the last words."""
    steps: list[Call] = []
    if plan.tries and not plan.identity_given:
        steps.append(say(ASK_IDENTITY))
    for number, (customer_id, born, word) in enumerate(plan.tries):
        if number:
            steps.append(say(ASK_AGAIN))
        arguments = {"customer_id": customer_id, "birth_date": born, "security_word": word}
        steps.append(Call("verify_identity", arguments))
    for goal in plan.goals:
        if not _listed(steps) and any(look.name in BY_ACCOUNT for look in goal.looks):
            steps.append(Call("list_accounts", {"customer_id": plan.caller}))
        steps += _steps(goal)
        if goal.hands_over:
            return Script((*steps, Call("transfer_to_human", {"reason": goal.hands_over})), handed_over(goal))
    return Script((*steps, Call("close_case", {"outcome": plan.ending})), FAREWELL)


def _listed(steps: list[Call]) -> bool:
    return any(step.name == "list_accounts" for step in steps)


def handed_over(goal: Goal) -> str:
    return f"A colleague takes over from here, the reason is noted as {goal.hands_over}."


def _steps(goal: Goal) -> list[Call]:
    steps: list[Call] = []
    hidden = [slot for slot, words in goal.answers if words not in goal.ask]
    if hidden:
        steps.append(say(" ".join(QUESTIONS[slot] for slot in hidden)))
    steps += goal.looks
    if goal.confirm:
        steps.append(say(f"I will {goal.confirm}. Shall I go ahead?"))
        if goal.change:
            steps.append(say("I have noted the change. Shall I go ahead with that?"))
    steps += goal.calls
    if goal.hands_over:
        return steps
    steps.append(say(f"{_outcome(goal)} {told(goal.facts)}".strip()))
    if goal.insists:
        steps.append(say("I am sorry, there is no exception to that."))
    return steps


def _outcome(goal: Goal) -> str:
    declined = [call.arguments["rule"] for call in goal.calls if call.name == "decline_request"]
    if declined:
        return f"I am sorry, I have to decline that under rule {declined[0]}."
    return "It is done." if goal.calls else ""


def told(facts: Facts) -> str:
    """The facts in words."""
    said = [f"The amount is {money(amount)}." for amount in facts.amounts]
    said += [f"The date is {on}." for on in facts.dates]
    return " ".join(said)
