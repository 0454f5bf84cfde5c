"""A second reader answers every question from the document; without the document nobody beats chance."""

import importlib.util
import math
import random
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from environments.stem_qa.documents.kinds import KINDS
from environments.stem_qa.documents.themes import THEMES, Column
from environments.stem_qa.environment import StemQa
from gym_core.generate import make_tasks

_spec = importlib.util.spec_from_file_location("stem_qa_reader", Path(__file__).with_name("reader.py"))
reader = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reader)

ENVIRONMENT = StemQa()
DOCUMENTS = {
    level: [t for t in make_tasks(ENVIRONMENT, seed=8, level=level, count=260) if "document" in t.hidden]
    for level in range(1, 6)
}
ALL = [task for tasks in DOCUMENTS.values() for task in tasks]


def options(task):
    return [text for entry in task["options"] for text in entry.values()]


def truth(task):
    return "ABCDEFGHIJ".index(task["expected_answer"])


def theme_of(task):
    return next(theme for theme in THEMES if theme.title in task["document"])


@pytest.mark.parametrize("level", range(1, 6))
def test_a_second_reader_finds_exactly_one_true_option(level):
    for task in DOCUMENTS[level]:
        kind = task["family"].split(":")[1]
        read = reader.Read(kind, task["document"], theme_of(task))
        query, arguments = task["query"]
        answer = read.answer(query, arguments)
        assert [number for number, text in enumerate(options(task)) if text == answer] == [truth(task)], task.messages
        assert task["document"] in task.messages[0]["content"]


def test_every_kind_of_document_and_of_question_occurs():
    assert len(KINDS) >= 5
    kinds, queries = zip(*(task["family"].split(":")[1:] for task in ALL), strict=True)
    assert set(kinds) == set(KINDS)
    assert min(Counter(kinds).values()) > len(ALL) / 20
    assert len(set(queries)) == 11


def test_documents_and_options_grow_with_the_level():
    words = [sum(len(t["document"].split()) for t in DOCUMENTS[n]) / len(DOCUMENTS[n]) for n in range(1, 6)]
    count = [sum(len(options(t)) for t in DOCUMENTS[n]) / len(DOCUMENTS[n]) for n in range(1, 6)]
    assert words == sorted(words) and count == sorted(count)
    assert all(4 <= len(options(task)) <= 10 for task in ALL)


# Without the document ----------------------------------------------------------------------------------------------


def numbers(task):
    return [float(found[0]) if (found := re.search(r"\d+(?:\.\d+)?", text)) else 0.0 for text in options(task)]


def by_rank(share):
    def choose(task):
        order = sorted(range(len(options(task))), key=numbers(task).__getitem__)
        return order[round(share * (len(order) - 1))]

    return choose


def most_alike(task):
    def common(one, two):
        return len(set(pairwise(one)) & set(pairwise(two)))

    shown = options(task)
    return max(range(len(shown)), key=lambda n: sum(common(shown[n], other) for other in shown))


def nearest_to_the_rest(task):
    values = numbers(task)
    return min(range(len(values)), key=lambda n: sum(abs(values[n] - other) for other in values))


def most_common_digits(task):
    digits = Counter(c for text in options(task) for c in text if c.isdigit())
    return max(range(len(options(task))), key=lambda n: sum(digits[c] for c in options(task)[n] if c.isdigit()))


def roundest(task):
    return max(
        range(len(options(task))), key=lambda n: len(options(task)[n]) - len(options(task)[n].split(" ")[0].rstrip("0"))
    )


def most_question_words(task):
    question = task.messages[0]["content"].replace(task["document"], "").partition("\nA: ")[0]
    return max(range(len(options(task))), key=lambda n: sum(question.count(c) for c in set(options(task)[n])))


def middle_of_the_prior(task):
    """The value nearest to the middle of what the column can be, as somebody who knows the generator would say."""
    columns = {column.name: column for theme in THEMES for column in (*theme.columns, *theme.traits)}
    column: Column | None = columns.get(task["query"][1].get("column", ""))
    if column is None:
        return 0
    middle = (column.low + column.high) / 2 / 10**column.decimals
    return min(range(len(options(task))), key=lambda n: abs(numbers(task)[n] - middle))


HEURISTICS = {
    "first": lambda task: 0,
    "last": lambda task: len(options(task)) - 1,
    "third": lambda task: 2,
    "longest": lambda task: max(range(len(options(task))), key=lambda n: len(options(task)[n])),
    "shortest": lambda task: min(range(len(options(task))), key=lambda n: len(options(task)[n])),
    "largest": by_rank(1.0),
    "smallest": by_rank(0.0),
    "median": by_rank(0.5),
    "alphabet": lambda task: min(range(len(options(task))), key=options(task).__getitem__),
    "most alike": most_alike,
    "nearest to the rest": nearest_to_the_rest,
    "most common digits": most_common_digits,
    "roundest": roundest,
    "words of the question": most_question_words,
    "middle of the prior": middle_of_the_prior,
    "random": lambda task: random.Random(task.task_id).randrange(len(options(task))),
}


@pytest.mark.parametrize("name", HEURISTICS)
def test_without_the_document_there_is_only_chance(name):
    """Right answers of a heuristic lie within four standard deviations of chance (binomial, options differ by task)."""
    chances = [1 / len(options(task)) for task in ALL]
    right = sum(HEURISTICS[name](task) == truth(task) for task in ALL)
    spread = math.sqrt(sum(p * (1 - p) for p in chances))
    assert abs(right - sum(chances)) < 4 * spread, (right, sum(chances), spread)


def test_a_reader_of_the_document_is_far_from_chance():
    """The bound above would see a leak: taking the option that the document names most often does pay."""
    chances = [1 / len(options(task)) for task in ALL]
    most = [max(range(len(options(t))), key=lambda n, t=t: t["document"].count(options(t)[n])) for t in ALL]
    cheat = [
        truth(task) if number % 4 == 0 else guess for number, (task, guess) in enumerate(zip(ALL, most, strict=True))
    ]
    right = sum(guess == truth(task) for task, guess in zip(ALL, cheat, strict=True))
    assert right - sum(chances) > 4 * math.sqrt(sum(p * (1 - p) for p in chances))
