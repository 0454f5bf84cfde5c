"""`format:*` of the whole reply: given options, one word a line, stairs, title case, a template, no white space."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from itertools import pairwise
from typing import ClassVar

from environments.instruction_following.verifiers import kinds
from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.verifiers.benchmark.bare import bare, without_punctuation
from environments.instruction_following.verifiers.text import has_word, words
from environments.instruction_following.verifiers.treebank import treebank_words
from environments.instruction_following.verifiers.vocabulary import MINOR_WORDS
from environments.instruction_following.witness import Plan
from environments.instruction_following.words import FILLER, NOT_EVEN_A_WORD

_LETTERED = re.compile(r"\W*[aA]\W*[bB]\W*[cC]\W*")
_LABELS = ("My Answer:", "My Conclusion:", "Future Outlook:")
_CHOICES = ("yes/no/maybe", "I know or I don't know", "a), b), c), d)")


@register
class Options(Constraint):
    """One of the options and nothing else; as published, lettered ones with their very signs."""

    id = "format:options"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"options": kinds.text}
    benchmark = True
    solo = True

    def describe(self, given: Kwargs) -> str:
        return f"Answer with one of the following options: {given['options']}. Do not give any explanation."

    def sample(self, draw: Draw) -> Kwargs:
        return {"options": draw.rng.choice(_CHOICES)}

    def check(self, text: str, given: Kwargs) -> bool:
        return bare(text.strip()).casefold() in {bare(option).casefold() for option in _options(given["options"])}

    def published(self, text: str, given: Kwargs) -> bool:
        options = _options(given["options"])
        if _LETTERED.match(given["options"]):
            return text in options
        return bare(text).lower() in {bare(option).lower() for option in options}

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return draw.rng.choice([option for option in _options(given["options"]) if bare(option)])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} {NOT_EVEN_A_WORD}"]


def _options(listed: str) -> list[str]:
    """Separated by slashes, else by the letters `or`, inside words too, else by commas."""
    separator = next((sign for sign in ("/", "or") if sign in listed), ",")
    return [option.strip() for option in listed.split(separator)]


@register
class Newline(Constraint):
    """One word on each line, two lines or more; as published, as many lines as words."""

    id = "format:newline"
    benchmark = True
    solo = True

    def describe(self, given: Kwargs) -> str:
        return "Write each word on a new line."

    def check(self, text: str, given: Kwargs) -> bool:
        found = [len(words(line)) for line in text.split("\n") if has_word(line)]
        return len(found) > 1 and set(found) == {1}

    def published(self, text: str, given: Kwargs) -> bool:
        body = without_punctuation(text).strip()
        return sum(line != "" for line in body.split("\n")) == len(body.split())

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return "\n".join([*keywords, *draw.rng.sample(FILLER, 4)])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.replace("\n", " ", 1)]


@register
class LineIndent(Constraint):
    """Each line, of two or more, is indented deeper than the one before."""

    id = "format:line_indent"
    benchmark = True
    solo = True

    def describe(self, given: Kwargs) -> str:
        return "Create stairs by incrementally indenting each new line."

    def check(self, text: str, given: Kwargs) -> bool:
        lines = [line.expandtabs(4) for line in text.split("\n") if has_word(line)]
        return len(lines) > 1 and all(_indent(a) < _indent(b) for a, b in pairwise(lines))

    def published(self, text: str, given: Kwargs) -> bool:
        return all(_indent(a) < _indent(b) for a, b in pairwise(_published_lines(text.split("\n"))))

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        lines = [*keywords, *(" ".join(draw.rng.sample(FILLER, 3)) for _ in range(3))]
        return "\n".join(" " * number + line for number, line in enumerate(lines))

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text}\n{NOT_EVEN_A_WORD}"]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _published_lines(lines: list[str]) -> list[str]:
    """The public checker drops blank lines from the list that it walks over: each drop takes the first line of equal
    blanks and lets the walk miss the next line."""
    kept: list[str | None] = list(lines)
    standing: defaultdict[str, deque[int]] = defaultdict(deque)
    missed = False
    for at, line in enumerate(lines):
        if line.strip():
            missed = False
            continue
        standing[line].append(at)
        if missed:
            missed = False
            continue
        kept[standing[line].popleft()] = None
        missed = True
    return [line for line in kept if line is not None]


@register
class TitleCase(Constraint):
    """Every word has a capital, small ones inside may go without; as published, those too must have one."""

    id = "format:title_case"
    benchmark = True
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return "Write the entire response in title case (capitalize the first letter of every major word)."

    def check(self, text: str, given: Kwargs) -> bool:
        found = [word for word in words(text) if word[0].isalpha()]
        if not found or not any(map(str.islower, text)):
            return False
        return all(word[0].isupper() or (number and word in MINOR_WORDS) for number, word in enumerate(found))

    def published(self, text: str, given: Kwargs) -> bool:
        return all(map(_published_title, treebank_words(text)))

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.case = "title"

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.lower()]


def _published_title(token: str) -> bool:
    if not token[0].islower():
        return True
    return len(token) > 1 and not token[1:].isupper() and not token[1:].islower()


@register
class OutputTemplate(Constraint):
    """The three labels in their order, nothing before them, words behind each; as published, the labels anywhere."""

    id = "format:output_template"
    benchmark = True
    solo = True

    def describe(self, given: Kwargs) -> str:
        return (
            "Use this exact template for your response: My Answer: [answer] My Conclusion: [conclusion] "
            "Future Outlook: [outlook]"
        )

    def check(self, text: str, given: Kwargs) -> bool:
        if any(text.count(label) != 1 for label in _LABELS):
            return False
        starts = [text.index(label) for label in _LABELS]
        if starts != sorted(starts) or has_word(text[: starts[0]]):
            return False
        ends = [*starts[1:], len(text)]
        return all(has_word(text[a + len(label) : b]) for label, a, b in zip(_LABELS, starts, ends, strict=True))

    def published(self, text: str, given: Kwargs) -> bool:
        return all(label in text for label in _LABELS)

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        a, b, c = (" ".join(draw.rng.sample(FILLER, 2)) for _ in range(3))
        return f"My Answer: {' '.join([a, *keywords])}. My Conclusion: {b}. Future Outlook: {c}."

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.replace("My Conclusion:", NOT_EVEN_A_WORD)]


@register
class NoWhitespace(Constraint):
    """No white space inside the reply."""

    id = "format:no_whitespace"
    benchmark = True
    solo = True

    def describe(self, given: Kwargs) -> str:
        return "The output should not contain any whitespace."

    def check(self, text: str, given: Kwargs) -> bool:
        return len(text.split()) == 1

    def published(self, text: str, given: Kwargs) -> bool:
        return not any(map(str.isspace, text))

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return "-".join([*draw.rng.sample(FILLER, 3), *keywords])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} {NOT_EVEN_A_WORD}"]
