"""Version editing: a list or a table is changed turn by turn; the last state is asked for."""

from __future__ import annotations

import random
from collections.abc import Callable

from environments.multi_turn_if.dialogues.dialogue import Dialogue, Family, asides
from environments.multi_turn_if.items import Item

THINGS = (
    "tent",
    "rope",
    "lamp",
    "map",
    "knife",
    "soap",
    "towel",
    "hat",
    "boots",
    "radio",
    "cup",
    "bread",
    "salt",
    "tape",
)
FORM = "Show me the {} now: one entry per line, nothing else."


def packing(rng: random.Random, level: int) -> Dialogue:
    """A list: add, remove, replace, move to the top."""
    things = rng.sample(THINGS, len(THINGS))
    entries, spare = things[: 2 + (level + 1) // 2], things[2 + (level + 1) // 2 :]

    def edit() -> str:
        fresh = ("add", "replace") if spare else ()
        kind = rng.choice(("top", *fresh, *(("remove",) if len(entries) > 2 else ())))
        if kind == "add":
            entries.append(spare.pop())
            return f"Add {entries[-1]} at the end."
        if kind == "remove":
            gone = entries.pop(rng.randrange(len(entries)))
            return f"Take {gone} out."
        place = rng.randrange(1, len(entries))
        if kind == "replace":
            old, entries[place] = entries[place], spare.pop()
            return f"Put {entries[place]} in the place of {old}."
        entries.insert(0, entries.pop(place))
        return f"Move {entries[0]} to the top."

    return _edited(rng, level, f"My packing list: {', '.join(entries)}.", "packing list", edit, lambda: entries)


def stock(rng: random.Random, level: int) -> Dialogue:
    """A table of counts: set, add to, take from, rename."""
    things = rng.sample(THINGS, len(THINGS))
    counts = {thing: rng.randint(2, 9) for thing in things[: 2 + (level + 1) // 2]}
    spare = things[len(counts) :]

    def edit() -> str:
        thing, amount = rng.choice(list(counts)), rng.randint(1, 9)
        kind = rng.choice(("set", "more", "less", *(("rename",) if spare else ())))
        if kind == "set":
            counts[thing] = amount
            return f"Set {thing} to {amount}."
        if kind == "more" or counts[thing] <= amount:
            counts[thing] += amount
            return f"{amount} more of {thing}, please."
        if kind == "less":
            counts[thing] -= amount
            return f"{amount} fewer of {thing}, please."
        new = spare.pop()
        renamed = {new if name == thing else name: count for name, count in counts.items()}
        counts.clear()
        counts.update(renamed)
        return f"Rename {thing} to {new}, same place and count."

    listed = ", ".join(f"{thing}: {count}" for thing, count in counts.items())
    return _edited(rng, level, f"My stock: {listed}.", "stock (as `name: count`)", edit,
                   lambda: [f"{thing}: {count}" for thing, count in counts.items()])  # fmt: skip


def order(rng: random.Random, level: int) -> Dialogue:
    """The order of a queue: swap, reverse, to the back, sort."""
    entries = rng.sample(THINGS, 3 + (level + 1) // 2)

    def edit() -> str:
        kind = rng.choice(("swap", "reverse", "back", "sort") if level else ("swap", "back"))
        if kind == "swap":
            one, other = rng.sample(range(len(entries)), 2)
            entries[one], entries[other] = entries[other], entries[one]
            return f"Swap {entries[one]} and {entries[other]}."
        if kind == "reverse":
            entries.reverse()
            return "Turn the whole order around."
        if kind == "sort":
            entries.sort()
            return "Sort it by the alphabet."
        entries.append(entries.pop(rng.randrange(len(entries) - 1)))
        return f"Send {entries[-1]} to the back."

    return _edited(rng, level, f"This is the queue: {', '.join(entries)}.", "queue", edit, lambda: entries)


def undone(rng: random.Random, level: int) -> Dialogue:
    """Additions of which some are taken back."""
    things = rng.sample(THINGS, len(THINGS))
    entries, spare = things[:2], things[2:]
    history: list[list[str]] = []

    def edit() -> str:
        if history and rng.random() < 0.4:
            entries[:] = history.pop()
            return "Undo my last change that still stands."
        history.append(list(entries))
        if not spare or (len(entries) > 2 and rng.random() < 0.4):
            return f"Drop {entries.pop(rng.randrange(len(entries)))}."
        entries.append(spare.pop())
        return f"Add {entries[-1]} at the end."

    return _edited(rng, level, f"A list of gifts: {', '.join(entries)}.", "list of gifts", edit, lambda: entries)


def _edited(
    rng: random.Random, level: int, start: str, name: str, edit: Callable[[], str], state: Callable[[], list[str]]
) -> Dialogue:
    """The list as it was, edits with small talk between them, and the question for the list as it is."""
    found = Dialogue()
    changes = [edit() for _ in range(1 + 2 * level if level else 1)]
    asked = FORM.format(name)
    if not level:
        found.user(f"{start} {changes[0]} {asked}")
    else:
        found.user(start, "Noted.")
        aside = asides(rng, level - 1)
        for number, change in enumerate(changes):
            found.user(change, "Done.")
            if number < len(aside):
                found.user(aside[number][0], aside[number][1] + ".")
        found.user(asked)
    lines = list(state())
    found.items = [Item("lines", lines, core=True)]
    found.best = "\n".join(lines)
    return found


FAMILIES: dict[str, Family] = {
    "version_packing": packing,
    "version_stock": stock,
    "version_order": order,
    "version_undo": undone,
}
