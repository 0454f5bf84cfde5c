"""Tasks by level: a story with goals, the customer's first words, and the policy that the agent is given.

level 0   one card, everything in the opening, five tools          level 3   two wishes, slots hidden
level 1   one wish, everything in the opening                      level 4   two or three, something outside,
level 2   one wish, identity and slots only when asked                       a change of mind or a failed check
                                                                   level 5   three or four, all of that
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from environments.banking import rules
from environments.banking.desk import Desk
from environments.banking.families import asking, money, outside, service
from environments.banking.names import WORDS
from environments.banking.plan import Facts, Goal, Plan
from environments.banking.replay import play
from environments.banking.story import Misfit, Story, call, units
from gym_core.environment import ToolFault

LEVELS = range(6)
Family = Callable[[Story], Goal]
LAST: tuple[Family, ...] = (*asking.LAST, *service.LAST)
INSIDE: tuple[Family, ...] = (*asking.FAMILIES, *money.FAMILIES, *service.FAMILIES)
PLAIN: tuple[Family, ...] = tuple(family for family in INSIDE if family not in money.CHANGES_MIND)
ALL: tuple[Family, ...] = (*INSIDE, *outside.FAMILIES, *outside.HANDED_OVER, outside.too_young, outside.impostor)
MAX_TRIES = 200

FIRST_TOOLS = ["verify_identity", "freeze_card", "unfreeze_card", "set_card_limit", "close_case"]
SHORT = (
    "You serve a bank's customers. Check the caller with verify_identity, do what is asked, end with close_case (done)."
)
ROLE = (
    "You serve the customers of a bank in a chat. Work by the policy below and by nothing else. What you say reaches "
    "the customer at the end of your turn; look-ups and changes are made with tools. Amounts are in EUR."
)


def make(rng: random.Random, level: int) -> dict[str, Any]:
    """A task of this level. `plan` is hidden."""
    plan = _card_plan(rng) if level == 0 else _plan(rng, level)
    number = rng.randint(10_000, 99_999)
    made: dict[str, Any] = {"system": _system(plan, level, number), "prompt": plan.prompt, "plan": plan}
    if level == 0:
        made["tools"] = FIRST_TOOLS
    return made


def _system(plan: Plan, level: int, number: int) -> str:
    today = f"Conversation {number}, {plan.today:%A}, {plan.today}."
    if level == 0:
        return f"{SHORT}\n{today}"
    return f"{ROLE}\n\nPolicy\n{rules.document()}\n\n{today}"


# One card --------------------------------------------------------------------------------------------------------


def _card_plan(rng: random.Random) -> Plan:
    """Level 0: the card's number is in the opening, one call does it."""
    story = Story.begun(rng)
    step = rng.choice(("freeze_card", "unfreeze_card", "set_card_limit"))
    card = story.card(story.mine(), "frozen" if step == "unfreeze_card" else "active")
    arguments: dict[str, object] = {"card_id": card.id}
    wish = f"Please {step.split('_')[0]} my card {card.id}."
    if step == "set_card_limit":
        limit = rng.choice([value for value in range(20_000, 300_001, 10_000) if value != card.limit])
        arguments["daily_limit"] = units(limit)
        wish = f"Please set the daily limit of my card {card.id} to {limit // 100}."
    story.told(Goal(step, wish, calls=(call(step, **arguments),)))
    return _finished(story, given=True)


# One wish and more -----------------------------------------------------------------------------------------------


def _plan(rng: random.Random, level: int) -> Plan:
    for _ in range(MAX_TRIES):
        try:
            return _try(rng, level)
        except Misfit:
            continue
    raise RuntimeError(f"no dialogue of level {level} was found in {MAX_TRIES} tries")


def _try(rng: random.Random, level: int) -> Plan:
    if level in (2, 4) and rng.random() < 0.12:
        return _strange(rng, level)
    story = Story.begun(rng)
    if level >= 5:
        story.account("reserve", rng.randint(1_000, 90_000))
        story.my_card()
    for family in _families(rng, level):
        story.told(_revealed(story, family(story), level))
    _check(story)
    slips = level >= 4 and rng.random() < 0.3
    return _finished(story, given=level == 1, slips=slips)


def _check(story: Story) -> None:
    """Raises `Misfit` where something that a later wish brought along spoils an earlier one."""
    desk = Desk.opened(story.start, story.today)
    desk.verified = story.me.id
    try:
        for goal in story.goals:
            play(desk, goal.calls)
    except ToolFault as fault:
        raise Misfit(str(fault)) from fault
    if desk.violations or desk.books != story.now.books:
        raise Misfit(f"after all wishes: {desk.violations}")


def _families(rng: random.Random, level: int) -> list[Family]:
    """Which wishes, in order; those that depend on everything stand last, a hand-over at the very end."""
    if level == 1:
        return [rng.choice(PLAIN)]
    if level == 2:
        return [rng.choice((rng.choice(INSIDE), rng.choice((*outside.FAMILIES, *outside.HANDED_OVER))))]
    beyond: Sequence[Family] = (*outside.FAMILIES, *outside.HANDED_OVER)
    count = {3: 2, 4: rng.randint(2, 3), 5: rng.randint(3, 4)}[level]
    chosen: list[Family] = []
    if level >= 4 or rng.random() < 0.5:
        chosen.append(rng.choice(beyond))
    if level == 5 or (level == 4 and rng.random() < 0.5):
        chosen.append(rng.choice(money.CHANGES_MIND))
    rest = [family for family in INSIDE if family not in chosen]
    chosen += rng.sample(rest, count - len(chosen))
    if any(len(group.intersection(chosen)) > 1 for group in outside.APART):
        raise Misfit("two wishes of a kind")
    rng.shuffle(chosen)
    return sorted(chosen, key=lambda family: (family in outside.HANDED_OVER) * 2 + (family in LAST))


def _strange(rng: random.Random, level: int) -> Plan:
    """A caller who is too young, or who is not the customer."""
    if rng.random() < 0.5:
        story = Story.begun(rng, age=rng.randint(15, 17))
        if level > 2:
            story.told(_revealed(story, rng.choice(asking.FAMILIES)(story), level))
        story.told(_revealed(story, outside.too_young(story), level))
        return _finished(story)
    story = Story.begun(rng)
    story.told(outside.impostor(story))
    return _finished(story, impostor=True)


def _revealed(story: Story, goal: Goal, level: int) -> Goal:
    """Slots that the customer says of its own accord: all on level 1, some on level 2, none above."""
    if level >= 3:
        return goal
    shown = [words for _, words in goal.answers if level == 1 or story.rng.random() < 0.4]
    return replace(goal, ask=" ".join((goal.ask, *shown)))


def _finished(story: Story, given: bool = False, slips: bool = False, impostor: bool = False) -> Plan:
    me, rng = story.me, story.rng
    right = (me.id, str(me.birth_date), me.security_word)
    wrong = [(me.id, str(me.birth_date), word) for word in rng.sample([w for w in WORDS if w != me.security_word], 2)]
    tries = tuple(wrong) if impostor else (wrong[0], right) if slips else (right,)
    who = f"This is {me.name}. " if rng.random() < 0.7 else ""
    if given:
        who = f"This is {me.name}, customer {me.id}, born {me.birth_date}, security word {me.security_word}. "
    first = story.goals[0].ask
    return Plan(
        today=story.today,
        start=story.start,
        prompt=f"{rng.choice(('Hello!', 'Good morning.', 'Hi,', 'Good day.'))} {who}{first}",
        goals=tuple(story.goals),
        caller="" if impostor else me.id,
        tries=tries,
        identity_given=given,
        secrets=Facts((story.mine().balance,)) if impostor else Facts(),
    )
