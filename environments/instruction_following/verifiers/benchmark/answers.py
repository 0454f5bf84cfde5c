"""`custom:*` questions with one answer: multiples, countries, capitals, dates, and an eagle spelled backwards."""

from __future__ import annotations

import datetime
import re
import unicodedata
from typing import ClassVar

from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.verifiers.benchmark.bare import bare, without_punctuation
from environments.instruction_following.verifiers.text import has_word, words
from environments.instruction_following.verifiers.vocabulary import COUNTRIES_OF_AFRICA, NORTHERN_CAPITALS
from environments.instruction_following.words import NOT_EVEN_A_WORD

_DIGITS = re.compile(r"\d+")
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})$")
_MULTIPLES = [str(number) for number in range(14, 51, 7)]
_SMALL = frozenset(["the", "is", "a", "of", "as"])
_CAMPAIGNS = (datetime.date(1793, 1, 1), datetime.date(1815, 12, 31))
_MONTHS_OF_30 = (4, 6, 9, 11)


def ascii_only(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


class _Answer(Constraint):
    benchmark: ClassVar[bool] = True
    solo: ClassVar[bool] = True
    question: ClassVar[str] = ""

    def describe(self, given: Kwargs) -> str:
        return self.question

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{NOT_EVEN_A_WORD}\n{text} 7", text.replace(" ", "", 1)]


@register
class Multiples(_Answer):
    """14 21 28 35 42 49 and nothing else; as published, words around them are fine."""

    id = "custom:multiples"
    question = "Count from 10 to 50 but only print multiples of 7."

    def check(self, text: str, given: Kwargs) -> bool:
        return words(text) == _MULTIPLES

    def published(self, text: str, given: Kwargs) -> bool:
        return _DIGITS.findall(text) == _MULTIPLES

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return draw.rng.choice((", ", " ", "\n")).join(_MULTIPLES)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"7 {text}"]


@register
class ReverseNewline(_Answer):
    """The countries of Africa, 53 of 54 at least, each once, from Zimbabwe down; published: any 52 falling lines."""

    id = "custom:reverse_newline"
    question = "List the countries of Africa in reverse alphabetical order, each on a new line."
    by_name: ClassVar[dict[str, int]] = {name: at for at, names in enumerate(COUNTRIES_OF_AFRICA) for name in names}

    def check(self, text: str, given: Kwargs) -> bool:
        lines = [_name_of(line) for line in text.split("\n") if has_word(line)]
        start = lines.index("zimbabwe") if "zimbabwe" in lines else len(lines)
        named = [self.by_name.get(line, -1) for line in lines[start:] if line != "western sahara"]
        right = named and -1 not in named and len(set(named)) == len(named) >= len(COUNTRIES_OF_AFRICA) - 1
        return bool(right) and lines[start:] == sorted(lines[start:], reverse=True)

    def published(self, text: str, given: Kwargs) -> bool:
        lines = [line for line in map(bare, text.split("\n")) if line]
        start = next((at for at, line in enumerate(lines) if "Zimbabwe" in line), len(lines))
        listed = [ascii_only(line) for line in lines[start:]]
        return len(listed) >= 52 and listed == sorted(listed, reverse=True)

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        names = [draw.rng.choice(names).title() for names in COUNTRIES_OF_AFRICA]
        return "\n".join(sorted(names, reverse=True))

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return ["\n".join(reversed(text.split("\n"))), text.replace("\n", " ")]


def _name_of(line: str) -> str:
    return " ".join(re.findall(r"[a-z]+", ascii_only(line).lower()))


@register
class WordReverse(_Answer):
    """The bald eagle in a sentence of four words or more, its words from last to first; published: the two alone."""

    id = "custom:word_reverse"
    question = (
        "What animal is the national symbol of the US? Respond to this query, but make your sentence in reverse order "
        "of what it should be, per word."
    )

    def check(self, text: str, given: Kwargs) -> bool:
        forth = " ".join(words(text)).casefold()
        back = " ".join(reversed(forth.split()))
        return len(forth.split()) > 3 and "bald eagle" in back and "bald eagle" not in forth

    def published(self, text: str, given: Kwargs) -> bool:
        return "bald eagle" in " ".join(reversed(without_punctuation(text.lower()).split()))

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return draw.rng.choice(("US the of symbol national the is eagle bald The", ".eagle bald the is symbol The"))

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [" ".join(reversed(text.split()))]


@register
class CharacterReverse(_Answer):
    """The bald eagle in a sentence of three words or more, spelled from last to first; published: the two alone."""

    id = "custom:character_reverse"
    question = (
        "What animal is the national symbol of the US? Respond to this query, but make your sentence in reverse order "
        "of what it should be, per letter."
    )

    def check(self, text: str, given: Kwargs) -> bool:
        back = " ".join(words(text[::-1])).casefold()
        return "bald eagle" in back and len(back.split()) > 2 and not _SMALL.isdisjoint(back.split())

    def published(self, text: str, given: Kwargs) -> bool:
        return "elgae dlab" in text.lower()

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return draw.rng.choice(("The bald eagle is it.", "The national symbol of the US is the bald eagle."))[::-1]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text[::-1]]


@register
class EuropeanCapitals(_Answer):
    """The northern capitals in their order; strictly Kyiv, which the published key forgot, may stand in its place."""

    id = "custom:european_capitals_sort"
    question = (
        "Give me the names of all capital cities of European countries whose latitude is higher than 45 degrees. List "
        "the capital cities without country names, separated by commas, sorted by latitude, from highest to lowest."
    )

    def check(self, text: str, given: Kwargs) -> bool:
        found = [" ".join(words(name)).lower() for name in ascii_only(text).split(",")]
        without = [name for name in found if name not in ("kyiv", "kiev")]
        place = NORTHERN_CAPITALS.index("Prague")
        kyiv_right = len(without) == len(found) or (found[place : place + 1] in (["kyiv"], ["kiev"]))
        return kyiv_right and len(found) - len(without) < 2 and without == [name.lower() for name in NORTHERN_CAPITALS]

    def published(self, text: str, given: Kwargs) -> bool:
        return tuple(name.strip() for name in ascii_only(text).split(",") if name.strip()) == NORTHERN_CAPITALS

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return ", ".join(NORTHERN_CAPITALS)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text}, {NOT_EVEN_A_WORD}"]


@register
class DateList(_Answer):
    """Real days within Napoleon's campaigns, two or more, none twice; as published, one day of his life, even 0th."""

    id = "custom:date_format_list"
    question = (
        "List the start dates of all the battles Napoleon fought separated by commas, use the following date format: "
        "YYYY-MM-DD. Do not provide an explanation."
    )

    def check(self, text: str, given: Kwargs) -> bool:
        found = [_day(part.strip()) for part in text.strip().rstrip(".").split(",")]
        real = [day for day in found if day and _CAMPAIGNS[0] <= day <= _CAMPAIGNS[1]]
        return len(real) == len(found) == len(set(found)) > 1

    def published(self, text: str, given: Kwargs) -> bool:
        return all(_published_day(part.strip()) for part in text.strip().split(","))

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return "1796-04-12, 1800-06-14, 1805-12-02, 1815-06-18"

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text}, {NOT_EVEN_A_WORD}"]


def _day(text: str) -> datetime.date | None:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return None
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return None


def _published_day(text: str) -> bool:
    found = _DATE.match(text)
    if not found:
        return False
    year, month, day = (int(part) for part in found.groups())
    last = {2: 29, **dict.fromkeys(_MONTHS_OF_30, 30)}.get(month, 31 if month else 99)
    return 1769 <= year <= 1821 and month <= 12 and day <= last
