"""Dialogues of six levels, each turn of which has a calendar that honours everything said so far.

0  one event at a given time, one line, no rules        3  three to five events, small talk, wishes replaced
1  one or two events, the wish in the same breath       4  five or six, durations change, events are cancelled
2  two or three, some wishes come later                 5  seven or eight in a nearly full day

A packed day is drawn first and wishes are drawn around it, so the final wishes hold together by construction; every
turn on the way is solved by `solver.schedule`, which also writes the assistant's turns. A dialogue whose last turn
changes something is kept only if the calendar of the turn before is no answer to it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from environments.calendar import words
from environments.calendar.environment import stated
from environments.calendar.expected import Constraint, Wanted, overlap, published_entry
from environments.calendar.solver import schedule
from environments.calendar.times import CLOSING, OPENING, clock, spoken

STEP = 15
TRIES = 200


@dataclass(slots=True, frozen=True)
class Size:
    """What a level asks for: events, durations, how much room a wish leaves around the drawn start (minutes)."""

    events: tuple[int, int]
    durations: tuple[int, ...]
    slack: tuple[int, int]
    later: float = 0.0
    talk: float = 0.0
    moves: tuple[int, int] = (0, 0)
    resizes: tuple[int, int] = (0, 0)
    cancels: tuple[int, int] = (0, 0)


SIZES = {
    1: Size((1, 2), (30, 45, 60), (60, 120)),
    2: Size((2, 3), (30, 45, 60, 75), (30, 120), later=0.4),
    3: Size((3, 5), (30, 45, 60, 75), (15, 90), later=0.5, talk=0.25, moves=(0, 1)),
    4: Size((5, 6), (30, 45, 60), (15, 60), later=0.5, talk=0.3, moves=(1, 2), resizes=(0, 1), cancels=(0, 1)),
    5: Size((7, 8), (30, 45, 60), (15, 45), later=0.5, talk=0.35, moves=(1, 3), resizes=(0, 1), cancels=(0, 1)),
}
KINDS = ("before", "after", "between", "between", "at", "free")


@dataclass(slots=True, frozen=True)
class Event:
    event_id: int
    name: str
    duration: int
    constraint: Constraint = field(default_factory=Constraint)

    @property
    def wanted(self) -> Wanted:
        return Wanted.of(self.event_id, self.duration, self.constraint, self.name)


Calendar = dict[int, Event]


@dataclass(slots=True, frozen=True)
class Turn:
    """What the user says, and what the calendar must hold from then on."""

    said: str
    calendar: Calendar
    changes: bool = True


def make(rng: random.Random, level: int) -> dict[str, Any]:
    """The dialogue, and hidden: `exp_cal_state` as published rows have it, and the names by id."""
    if level == 0:
        return _smallest(rng)
    for _ in range(TRIES):
        turns = list(_dialogue(rng, SIZES[level]))
        solved = [schedule([event.wanted for event in turn.calendar.values()]) for turn in turns]
        starts = [found for found in solved if found is not None]
        if len(starts) == len(turns) and not (turns[-1].changes and _stale(turns, starts)):
            return _task(rng, turns, starts)
    raise AssertionError(f"no dialogue of level {level} in {TRIES} draws")


def _smallest(rng: random.Random) -> dict[str, Any]:
    name, duration, number = rng.choice(words.SHORT), rng.choice((30, 60)), rng.randrange(4)
    start = rng.randrange(OPENING, CLOSING - duration + 1, 30)
    said = rng.choice(words.SHORTEST).format(name=name, start=clock(start), duration=duration, id=number)
    event = Event(number, name, duration, Constraint("at", start))
    return {"prompt": f"{words.EXAMPLE} {said}", **_hidden({number: event})}


def _hidden(calendar: Calendar) -> dict[str, Any]:
    state = {
        str(event.event_id): published_entry(event.event_id, event.duration, event.constraint, event.name)
        for event in calendar.values()
    }
    return {"exp_cal_state": state, "names": {str(event.event_id): event.name for event in calendar.values()}}


def _task(rng: random.Random, turns: list[Turn], starts: list[dict[int, int]]) -> dict[str, Any]:
    items = []
    for turn, found in zip(turns, starts, strict=True):
        items.append({"role": "user", "content": turn.said})
        shown = stated([event.wanted for event in turn.calendar.values()], found)
        if not turn.changes:
            shown = f"{rng.choice(words.SMALL_REPLIES)} {shown}"
        items.append({"role": "assistant", "content": shown})
    return {"system": words.RULES, "prompt": items[:-1], **_hidden(turns[-1].calendar)}


def _stale(turns: list[Turn], starts: list[dict[int, int]]) -> bool:
    """Whether the calendar of the turn before would still do after the last one."""
    if len(turns) == 1:
        return False
    now = turns[-1].calendar
    before = turns[-2].calendar
    if set(now) != set(before) or any(now[key].duration != before[key].duration for key in now):
        return False
    return all(event.wanted.admits(starts[-2][key]) for key, event in now.items())


# What happens in the dialogue ------------------------------------------------------------------------------------


def _dialogue(rng: random.Random, size: Size) -> Iterator[Turn]:
    """Turns in the order they are said. The calendar after the last one can be solved; those before, perhaps."""
    day = _day(rng, size)
    calendar: Calendar = {}
    for steps in _interleaved(rng, [_story(rng, size, event, start) for event, start in day]):
        if calendar and rng.random() < size.talk:
            yield Turn(rng.choice(words.TALK), dict(calendar), changes=False)
        said, event_id, event = steps
        if event is None:
            del calendar[event_id]
        else:
            calendar[event_id] = event
        yield Turn(said, dict(calendar))
    if rng.random() < size.talk / 5:
        yield Turn(rng.choice(words.TALK), dict(calendar), changes=False)


def _day(rng: random.Random, size: Size) -> list[tuple[Event, int]]:
    """Events of a day that fits, in random order: each with its wish and the start it was drawn around."""
    count = rng.randint(*size.events)
    room = (CLOSING - OPENING) // STEP
    while sum(lengths := rng.choices(size.durations, k=count)) > CLOSING - OPENING:
        continue
    gaps = sorted(rng.randint(0, room - sum(lengths) // STEP) for _ in range(count))
    names = rng.sample(range(len(words.TOPICS) * len(words.KINDS)), count)
    numbers = rng.sample(range(count), count)
    events = []
    for place, (duration, gap) in enumerate(zip(lengths, gaps, strict=True)):
        start = OPENING + gap * STEP + sum(lengths[:place])
        topic, kind = divmod(names[place], len(words.KINDS))
        details = words.DETAILS if place >= 2 else words.PLAIN_DETAILS
        name = f"{words.TOPICS[topic]} {words.KINDS[kind]}{rng.choice(details)}"
        event = Event(numbers[place], name, duration, _wish(rng, size, start, duration))
        events.append((event, start))
    assert not overlap((start, event.duration) for event, start in events)
    return sorted(events, key=lambda pair: pair[0].event_id)


def _wish(rng: random.Random, size: Size, start: int, duration: int) -> Constraint:
    """A constraint that this start honours."""
    before, after = (rng.randrange(size.slack[0], size.slack[1] + 1, STEP) for _ in range(2))
    first, second = max(OPENING, start - before), min(CLOSING, start + duration + after)
    kind = rng.choice(KINDS)
    if kind == "at":
        return Constraint("at", start)
    if kind == "between":
        return Constraint("between", first, second)
    if kind == "before":
        return Constraint("before", second)
    return Constraint("after", first) if kind == "after" else Constraint()


Step = tuple[str, int, Event | None]
"""What is said, the event it is about, and the event as it is from then on; None removes it."""


def _story(rng: random.Random, size: Size, event: Event, start: int) -> list[Step]:
    """How an event gets onto the calendar and to its final form; the first event id also takes the detours."""
    steps: list[Step] = []
    first = event
    if event.event_id < rng.randint(*size.moves):
        other = rng.randrange(OPENING, CLOSING - event.duration + 1, STEP)
        first = replace(event, constraint=_wish(rng, size, other, event.duration))
    if event.event_id < rng.randint(*size.resizes):
        first = replace(first, duration=rng.choice([d for d in size.durations if d < event.duration] or [15]))
    if rng.random() < size.later:
        bare = replace(first, constraint=Constraint())
        steps.append((_add(rng, bare), event.event_id, bare))
        if first.constraint.kind != "free":
            steps.append((_constrain(rng, first), event.event_id, first))
    else:
        steps.append((_add(rng, first), event.event_id, first))
    if first.duration != event.duration:
        first = replace(first, duration=event.duration)
        said = rng.choice(words.RESIZE).format(name=event.name, id=event.event_id, duration=event.duration)
        steps.append((said, event.event_id, first))
    if first.constraint != event.constraint:
        said = rng.choice(words.CHANGED).format(wish=_constrain(rng, event))
        steps.append((said, event.event_id, event))
    if event.event_id >= 1 and event.event_id <= rng.randint(*size.cancels):
        steps.append((rng.choice(words.CANCEL).format(name=event.name, id=event.event_id), event.event_id, None))
    return steps


def _times(rng: random.Random, event: Event) -> dict[str, Any]:
    gap = rng.choice(("", " "))
    constraint = event.constraint
    return {
        "name": event.name,
        "id": event.event_id,
        "duration": event.duration,
        "first": spoken(constraint.first, gap),
        "second": spoken(constraint.second, gap),
    }


def _add(rng: random.Random, event: Event) -> str:
    given = _times(rng, event)
    wish = rng.choice(words.WISHES[event.constraint.kind]).format(**given)
    return rng.choice(words.ADD).format(wish=wish, **given)


def _constrain(rng: random.Random, event: Event) -> str:
    return rng.choice(words.CONSTRAIN[event.constraint.kind]).format(**_times(rng, event))


def _interleaved(rng: random.Random, stories: list[list[Step]]) -> Iterator[Step]:
    """All steps, each story in its own order; at random, so that wishes come after other events."""
    waiting = [list(story) for story in stories if story]
    while waiting:
        story = rng.choice(waiting)
        yield story.pop(0)
        waiting = [rest for rest in waiting if rest]
