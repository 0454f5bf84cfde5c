"""Dialogues answered a second time, from their words alone; the best answer holds; what makes a level hard grows."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from statistics import fmean

import pytest

from environments.multi_turn_if.dialogues.dialogue import ASSISTANT, USER, Dialogue
from environments.multi_turn_if.dialogues.inverse import CITIES
from environments.multi_turn_if.generator import FAMILIES, KINDS, LEVELS, make
from environments.multi_turn_if.items import grade

SEEDS = 60


def dialogues(family: str) -> list[Dialogue]:
    return [
        FAMILIES[family](random.Random(f"{family} {level} {seed}"), level) for level in LEVELS for seed in range(SEEDS)
    ]


def users(found: Dialogue) -> str:
    return "\n".join(text for role, text in found.turns if role == USER)


def test_there_are_five_kinds_and_22_families() -> None:
    assert len(KINDS) == 5 and len(FAMILIES) == 22 == sum(map(len, KINDS))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_best_answer_holds_and_no_turn_says_it_back(family: str) -> None:
    for found in dialogues(family):
        assert grade(found.items, found.best)[0] == 1.0, (found.turns, found.best)
        assert found.turns[-1][0] == USER
        assert grade(found.items, users(found))[0] == 0.0
        assert grade(found.items, found.turns[-1][1])[0] == 0.0
        assert grade(found.items, "I do not know.")[0] == 0.0


@pytest.mark.parametrize("family", FAMILIES)
def test_distance_grows_with_the_level(family: str) -> None:
    lengths = [fmean(len(FAMILIES[family](random.Random(seed), level).turns) for seed in range(20)) for level in LEVELS]
    assert lengths == sorted(lengths) and lengths[-1] > lengths[0]


@pytest.mark.parametrize("level", LEVELS)
def test_every_kind_is_drawn(level: int) -> None:
    made = [make(random.Random(seed), level) for seed in range(200)]
    assert {one["family"].partition("_")[0] for one in made} == {"retention", "version", "fact", "coherence", "inverse"}


# Second routes ---------------------------------------------------------------------------------------------------


def packing(found: Dialogue) -> list[str]:
    text = users(found)
    listed = re.search(r"packing list: ([\w, ]+)\.", text)
    assert listed
    entries = listed[1].split(", ")
    edits = r"Add (\w+) at the end|Take (\w+) out|Put (\w+) in the place of (\w+)|Move (\w+) to the top"
    for added, gone, new, old, top in re.findall(edits, text):
        if added:
            entries = [*entries, added]
        elif gone:
            entries = [one for one in entries if one != gone]
        elif new:
            entries = [new if one == old else one for one in entries]
        else:
            entries = [top, *(one for one in entries if one != top)]
    return entries


def stock(found: Dialogue) -> list[str]:
    text = users(found)
    listed = re.search(r"My stock: ([\w:, ]+)\.", text)
    assert listed
    table = [tuple(entry.split(": ")) for entry in listed[1].split(", ")]
    counts = [[name, int(count)] for name, count in table]
    edits = r"Set (\w+) to (\d+)|(\d+) (more|fewer) of (\w+)|Rename (\w+) to (\w+)"
    for name, value, amount, way, of, old, new in re.findall(edits, text):
        for row in counts:
            if name and row[0] == name:
                row[1] = int(value)
            elif way and row[0] == of:
                row[1] += int(amount) if way == "more" else -int(amount)
            elif old and row[0] == old:
                row[0] = new
                break
    return [f"{name}: {count}" for name, count in counts]


def order(found: Dialogue) -> list[str]:
    text = users(found)
    listed = re.search(r"the queue: ([\w, ]+)\.", text)
    assert listed
    entries = listed[1].split(", ")
    edits = r"Swap (\w+) and (\w+)|(Turn the whole)|(Sort it)|Send (\w+) to the back"
    for one, other, turned, sorts, back in re.findall(edits, text):
        if one:
            entries = [other if name == one else one if name == other else name for name in entries]
        elif turned:
            entries = entries[::-1]
        elif sorts:
            entries = sorted(entries)
        else:
            entries = [*(name for name in entries if name != back), back]
    return entries


def undone(found: Dialogue) -> list[str]:
    text = users(found)
    listed = re.search(r"list of gifts: ([\w, ]+)\.", text)
    assert listed
    states = [listed[1].split(", ")]
    for added, gone, undo in re.findall(r"Add (\w+) at the end|Drop (\w+)\.|(Undo)", text):
        if undo:
            states.pop()
        else:
            states.append([*states[-1], added] if added else [one for one in states[-1] if one != gone])
    return states[-1]


def recall(found: Dialogue) -> list[str]:
    text = users(found)
    asked = re.search(r"does (\w+) live now", text)
    assert asked
    homes = re.findall(rf"{asked[1]} (?:lives in|has moved to) (\w+)\.", text)
    return [homes[-1]]


def allergy(found: Dialogue) -> list[str]:
    text = users(found)
    bad = set(re.findall(r"must not eat (\w+)", text)) - set(re.findall(r"may eat (\w+) again", text))
    dishes = re.findall(r"(\w+) with (\w+) and (\w+)", text)
    return [name for name, *inside in dishes if not bad & set(inside)]


def budget(found: Dialogue) -> list[str]:
    text = users(found)
    money = re.search(r"I have (\d+) to spend", text)
    assert money
    left = int(money[1]) - sum(map(int, re.findall(r"I just spent (\d+)", text)))
    offers = [(int(price), name) for name, price in re.findall(r"(\w+) for (\d+)", text)]
    return [max(offer for offer in offers if offer[0] <= left)[1]]


def free_day(found: Dialogue) -> list[str]:
    text = users(found)
    busy = set(re.findall(r"On (\w+day) (?:I|my|there)", text)) - set(
        re.findall(r"class on (\w+day) is cancelled", text)
    )
    proposed = re.search(r"They propose ([\w, ]+)\.", text)
    assert proposed
    return [day for day in proposed[1].split(", ") if day not in busy]


def prices(found: Dialogue) -> list[str]:
    told = dict(re.findall(r"(\w+) costs (\d+)", "\n".join(text for role, text in found.turns if role == ASSISTANT)))
    asked = re.search(r"what do (\d+) months of (\w+) cost", users(found))
    assert asked
    return [str(int(asked[1]) * int(told[asked[2]]))]


def plan(found: Dialogue) -> list[str]:
    put = dict(re.findall(r"(\w+day): (\w+)", found.turns[1][1]))
    for one, other in re.findall(r"Swap (\w+) and (\w+)", users(found)):
        put[one], put[other] = put[other], put[one]
    asked = re.search(r"on (\w+) in your plan", users(found))
    assert asked
    return [put[asked[1]]]


def claim(found: Dialogue) -> list[str]:
    said = dict(re.findall(r"my (\w+) essay\?\nIt gets (\d+)", "\n".join(text for _, text in found.turns)))
    asked = re.search(r"You gave my (\w+) essay", users(found))
    assert asked
    return [said[asked[1]]]


def count(found: Dialogue) -> list[str]:
    asked = re.search(r"offered me (\w+) so far", users(found))
    assert asked
    return [str(sum(text.endswith(f"some {asked[1]}?") for role, text in found.turns if role == ASSISTANT))]


def listed_words(found: Dialogue) -> list[str]:
    listed = re.search(r"(?:My words:|words are|My numbers:) ([\w, ]+)\.", users(found))
    assert listed
    return listed[1].split(", ")


def not_listed(found: Dialogue) -> list[str]:
    asked = re.search(r"Capital of (\w+)\? Options: ([\w, ]+)\.", users(found))
    assert asked
    return [CITIES[asked[1]] if CITIES[asked[1]] in asked[2].split(", ") else "NONE"]


ROUTES: dict[str, Callable[[Dialogue], list[str]]] = {
    "version_packing": packing,
    "version_stock": stock,
    "version_order": order,
    "version_undo": undone,
    "fact_recall": recall,
    "fact_allergy": allergy,
    "fact_budget": budget,
    "fact_free_day": free_day,
    "coherence_prices": prices,
    "coherence_plan": plan,
    "coherence_claim": claim,
    "coherence_count": count,
    "inverse_backwards": lambda found: ["".join(reversed(word)) for word in listed_words(found)],
    "inverse_swapped": lambda found: [word[-1] + word[1:-1] + word[0] for word in listed_words(found)],
    "inverse_countdown": lambda found: sorted(listed_words(found), key=int, reverse=True),
    "inverse_not_listed": not_listed,
}


@pytest.mark.parametrize("family", ROUTES)
def test_another_reader_comes_to_the_same_answer(family: str) -> None:
    for found in dialogues(family):
        assert ROUTES[family](found) == found.best.split("\n"), found.turns


SAID = {
    "ends": r"end every answer with: ([\w ]+\.)",
    "starts": r"with the word (\w+)",
    "at_most": r"more than (\d+) words",
    "without": r"never use the word (\w+)",
}


@pytest.mark.parametrize("family", [name for name in FAMILIES if name.startswith("retention")])
def test_the_rules_that_are_checked_are_the_ones_said_last(family: str) -> None:
    for found in dialogues(family):
        said = f"{found.system}\n{users(found)}"
        for kind, pattern in SAID.items():
            values = re.findall(pattern, said)
            checked = [item.value for item in found.items if item.kind == kind]
            assert values[-1:] == checked, (said, found.items)
