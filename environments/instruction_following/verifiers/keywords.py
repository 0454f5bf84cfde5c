"""`keywords:*` and `count:count_increment_word`: which words a reply contains, and how often."""

from __future__ import annotations

from typing import ClassVar

from environments.instruction_following.verifiers import kinds
from environments.instruction_following.verifiers.base import (
    AT_LEAST,
    LESS_THAN,
    Constraint,
    Draw,
    Kwargs,
    published_count,
    register,
    related,
)
from environments.instruction_following.verifiers.text import (
    count_phrase,
    inject,
    swap,
)
from environments.instruction_following.witness import Plan
from environments.instruction_following.words import NOT_EVEN_A_WORD


@register
class Existence(Constraint):
    """Every keyword stands in the reply as a word; as published, also inside another word."""

    id = "keywords:existence"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"keywords": kinds.words}
    anchored = True

    def describe(self, given: Kwargs) -> str:
        return f"Include the keywords {', '.join(given['keywords'])} in your response."

    def sample(self, draw: Draw) -> Kwargs:
        return {"keywords": sorted(draw.word() for _ in range(draw.count(1, 5)))}

    def check(self, text: str, given: Kwargs) -> bool:
        return all(count_phrase(text, keyword) for keyword in given["keywords"])

    def published(self, text: str, given: Kwargs) -> bool:
        return all(published_count(text, keyword) for keyword in given["keywords"])

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.include += given["keywords"]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [swap(text, given["keywords"][0], NOT_EVEN_A_WORD)]


@register
class Frequency(Constraint):
    """A keyword at least, or less than, so many times."""

    id = "keywords:frequency"
    arguments: ClassVar[dict[str, kinds.Kind]] = {
        "keyword": kinds.word,
        "frequency": kinds.count,
        "relation": kinds.relation,
    }
    anchored = True

    def describe(self, given: Kwargs) -> str:
        return f"The word {given['keyword']} should appear {given['relation']} {given['frequency']} times."

    def sample(self, draw: Draw) -> Kwargs:
        return {"keyword": draw.word(), "frequency": draw.count(1, 6), "relation": AT_LEAST}

    def check(self, text: str, given: Kwargs) -> bool:
        return related(count_phrase(text, given["keyword"]), given["relation"], given["frequency"])

    def published(self, text: str, given: Kwargs) -> bool:
        return related(published_count(text, given["keyword"]), given["relation"], given["frequency"])

    def shape(self, plan: Plan, given: Kwargs) -> None:
        if given["relation"] == AT_LEAST:
            plan.include += [given["keyword"]] * given["frequency"]
        else:
            plan.avoid.add(given["keyword"])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        if given["relation"] == LESS_THAN:
            return [inject(text, " ".join([given["keyword"]] * given["frequency"]))]
        return [swap(text, given["keyword"], NOT_EVEN_A_WORD)]


@register
class Forbidden(Constraint):
    """None of these words; zero-width characters inside a word do not hide it."""

    id = "keywords:forbidden_words"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"forbidden_words": kinds.words}

    def describe(self, given: Kwargs) -> str:
        return f"Do not use the words {', '.join(given['forbidden_words'])} in your response."

    def sample(self, draw: Draw) -> Kwargs:
        return {"forbidden_words": sorted(draw.word() for _ in range(draw.count(2, 5)))}

    def check(self, text: str, given: Kwargs) -> bool:
        return not any(count_phrase(text, word) for word in given["forbidden_words"])

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.avoid.update(given["forbidden_words"])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [inject(text, given["forbidden_words"][0])]


@register
class ExcludeHarder(Constraint):
    """One word of the request may not come back; as published, only between two spaces."""

    id = "keywords:exclude_word_harder"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"keyword": kinds.word}

    def describe(self, given: Kwargs) -> str:
        return f"Do not include the keyword {given['keyword']} in the response."

    def sample(self, draw: Draw) -> Kwargs:
        return {"keyword": draw.word()}

    def check(self, text: str, given: Kwargs) -> bool:
        return count_phrase(text, given["keyword"]) == 0

    def published(self, text: str, given: Kwargs) -> bool:
        return f" {given['keyword']} " not in text

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.avoid.add(given["keyword"])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [inject(text, given["keyword"])]


@register
class WordOnce(Constraint):
    """A keyword exactly once."""

    id = "keywords:word_once"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"keyword": kinds.word}
    anchored = True

    def describe(self, given: Kwargs) -> str:
        return f"Include the keyword {given['keyword']} exactly once in your response."

    def sample(self, draw: Draw) -> Kwargs:
        return {"keyword": draw.word()}

    def check(self, text: str, given: Kwargs) -> bool:
        return count_phrase(text, given["keyword"]) == 1

    def published(self, text: str, given: Kwargs) -> bool:
        return published_count(text, given["keyword"]) == 1

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.include.append(given["keyword"])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [swap(text, given["keyword"], NOT_EVEN_A_WORD), inject(text, given["keyword"])]


@register
class WordCount(Constraint):
    """A keyword exactly so many times, as the prompt says; the public checker reads `relation` instead."""

    id = "keywords:word_count_different_numbers"
    arguments: ClassVar[dict[str, kinds.Kind]] = {
        "keyword": kinds.word,
        "frequency": kinds.count,
        "relation": kinds.relation,
    }
    anchored = True

    def describe(self, given: Kwargs) -> str:
        return f"The word {given['keyword']} should appear exactly {given['frequency']} times."

    def sample(self, draw: Draw) -> Kwargs:
        return {"keyword": draw.word(), "frequency": draw.count(1, 6), "relation": AT_LEAST}

    def check(self, text: str, given: Kwargs) -> bool:
        return count_phrase(text, given["keyword"]) == given["frequency"]

    def published(self, text: str, given: Kwargs) -> bool:
        return related(published_count(text, given["keyword"]), given["relation"], given["frequency"])

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.include += [given["keyword"]] * given["frequency"]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [inject(text, given["keyword"]), swap(text, given["keyword"], NOT_EVEN_A_WORD)]


@register
class Increment(Constraint):
    """One keyword once, another twice."""

    id = "count:count_increment_word"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"keyword1": kinds.word, "keyword2": kinds.word}
    anchored = True

    def describe(self, given: Kwargs) -> str:
        return f"Include the keyword {given['keyword1']} once and the keyword {given['keyword2']} twice."

    def sample(self, draw: Draw) -> Kwargs:
        return {"keyword1": draw.word(), "keyword2": draw.word()}

    def check(self, text: str, given: Kwargs) -> bool:
        return count_phrase(text, given["keyword1"]) == 1 and count_phrase(text, given["keyword2"]) == 2

    def published(self, text: str, given: Kwargs) -> bool:
        return published_count(text, given["keyword1"]) == 1 and published_count(text, given["keyword2"]) == 2

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.include += [given["keyword1"], given["keyword2"], given["keyword2"]]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [inject(text, given["keyword1"]), swap(text, given["keyword2"], NOT_EVEN_A_WORD)]
