"""Generated tasks against the second route, which reads the documents: right, unambiguous, from five or more."""

import random
from collections import Counter
from pathlib import Path

import pytest

from environments.long_context_qa import generator
from environments.long_context_qa.families import FAMILIES
from environments.long_context_qa.levels import LEVELS
from environments.long_context_qa.needles import NEEDLES
from environments.long_context_qa.tokens import Estimate
from gym_core.loading import load_file

reader = load_file(Path(__file__).with_name("reader.py"))
COUNT = Estimate()
RULED = ("by_date", "by_authority")
DRAWN = [(family, level, seed) for family in FAMILIES for level in (1, 2, 3) for seed in (0, 1)]
EXHAUSTIVE = [(family, level) for family in FAMILIES for level in range(1, 9)]


def made(family, level, seed):
    return generator.document_task(random.Random(f"{family} {level} {seed}"), level, COUNT, family)


def answered_only_from_all(task):
    prompt, query = task["prompt"], task["query"]
    answer = reader.solve(prompt, query)
    assert answer == reader.gold(task["answer"])
    assert len(task["needed"]) >= 5
    for number in task["needed"]:
        try:
            without = reader.solve(prompt, query, without=number)
        except reader.Undefined:
            continue
        assert without != answer, (query, number)


def test_there_are_more_than_twelve_families_of_joins():
    assert len(FAMILIES) >= 12


@pytest.mark.parametrize(("family", "level", "seed"), DRAWN)
def test_the_documents_give_the_answer_and_no_document_may_be_missing(family, level, seed):
    answered_only_from_all(made(family, level, seed))


@pytest.mark.slow
@pytest.mark.parametrize(("family", "level"), EXHAUSTIVE)
def test_on_every_level_no_document_may_be_missing(family, level):
    for seed in range(30 if level < 5 else 4):
        answered_only_from_all(made(family, level, seed))


def test_no_answer_follows_from_the_other_documents_alone():
    """The needed documents suffice where nothing is counted openly; all others together give nothing."""
    for family in FAMILIES:
        task = made(family, 2, 5)
        texts = reader.documents(task["prompt"])
        needed = "\n\n".join(texts[number] for number in task["needed"])
        others = "\n\n".join(text for number, text in texts.items() if number not in task["needed"])
        assert reader.solve(needed, task["query"]) == reader.gold(task["answer"]), family
        try:
            assert reader.solve(others, task["query"]) != reader.gold(task["answer"])
        except reader.Undefined:
            continue


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_said_twice_unless_the_question_says_which_counts(family):
    task = made(family, 3, 2)
    said = Counter((one.entity, one.attribute) for one in reader.statements(task["prompt"]))
    twice = {key for key, count in said.items() if count > 1}
    assert bool(twice) == (family in RULED)
    assert {entity for entity, _ in twice} <= set(task["query"].get("entities", ()))
    assert ("Where documents disagree" in task["prompt"]) == (family in RULED)


@pytest.mark.parametrize("family", RULED)
def test_the_rule_decides(family):
    """Whoever takes the first or the last statement of the text, or any but the one that counts, is wrong."""
    differing = 0
    for seed in range(6):
        task = made(family, 2, seed)
        said = reader.statements(task["prompt"])
        for order in (said, said[::-1]):
            values = {(one.entity, one.attribute): one.value for one in order}
            query = task["query"]
            naive = sum(values[entity, query["attribute"]] for entity in query["entities"])
            differing += naive != reader.gold(task["answer"])
    assert differing > 6  # of 12


@pytest.mark.parametrize("family", ["total", "ranked", "chain", "months", "order_value", "deadline"])
def test_needed_facts_have_near_duplicates(family):
    task = made(family, 3, 1)
    said = reader.statements(task["prompt"])
    entities = {one.entity for one in said}
    asked = [entity for entity in entities if entity in str(task["query"])]
    assert asked
    for entity in asked:
        assert any(_near(entity, other) for other in entities if other != entity), entity


def _near(one, other):
    ours, theirs = one.split(), other.split()
    if ours[0] == "Contract":
        return sum(a != b for a, b in zip(one, other, strict=False)) <= 1 and len(one) == len(other)
    return len(set(ours) & set(theirs)) >= len(ours) - 1


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_needles_are_where_they_are_said_to_be(level):
    for family in NEEDLES:
        task = generator.needle_task(random.Random(f"{family} {level}"), level, COUNT, family)
        found, gold = reader.find(task["prompt"], task["query"]), reader.gold(task["answer"])
        if task["answer"]["kind"] == "set":
            found = sorted(found)
        assert found == ([gold] if isinstance(gold, str) else gold), family


@pytest.mark.parametrize("level", range(1, 6))
def test_budgets_are_kept_and_nearly_filled(level):
    for seed in range(8):
        task = generator.make(random.Random(seed), level, COUNT)
        tokens = COUNT(task["prompt"])
        assert task["public"]["input_tokens"] == tokens
        assert 0.85 * LEVELS[level].tokens <= tokens <= LEVELS[level].tokens
        assert task["public"]["token_counter"].startswith("estimate")


@pytest.mark.slow
@pytest.mark.parametrize("level", [6, 7, 8])
def test_long_budgets_are_kept_too(level):
    for seed in range(6):
        task = generator.make(random.Random(seed), level, COUNT)
        assert 0.85 * LEVELS[level].tokens <= COUNT(task["prompt"]) <= LEVELS[level].tokens


def test_documents_are_as_many_as_the_level_says_and_of_every_kind():
    for level in range(1, 6):
        task = made("total", level, 0)
        texts = reader.documents(task["prompt"])
        low, high = LEVELS[level].documents
        assert low <= len(texts) == task["public"]["num_documents"] <= high
        kinds = {text.split(": ", 1)[1].split()[0].lower() for text in texts.values()}
        assert len(kinds) == min(6, len(texts)), kinds


def test_every_family_is_drawn():
    seen = Counter(generator.make(random.Random(seed), 1, COUNT)["family"] for seed in range(400))
    assert set(seen) == {*FAMILIES, *NEEDLES}


def test_level_0_is_short_and_has_many_prompts():
    made = [generator.make(random.Random(seed), 0, COUNT) for seed in range(3000)]
    assert max(task["public"]["input_tokens"] for task in made) <= LEVELS[0].tokens
    assert len({task["prompt"] for task in made}) > 2900
    for task in made[:300]:
        said = dict(part.removesuffix(".").replace("now ", "").split() for part in task["prompt"].split(". ")[:-1])
        asked = task["prompt"].split(". ")[-1].removesuffix("?")
        names = {number: name for name, number in said.items()}
        assert (said.get(asked) or names[asked]) == str(task["answer"]["value"])


def test_the_same_generator_makes_the_same_task():
    for level in range(6):
        assert generator.make(random.Random(7), level, COUNT) == generator.make(random.Random(7), level, COUNT)
