"""Which language a text is in, by its script and its commonest words: no model, no data files, one pass.

A language with a script of its own is told by the script; languages that share one are told apart by function words.
Texts too short to show any are of no language: a strict verdict needs evidence.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import ClassVar

from environments.instruction_following.verifiers import kinds, profiles
from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.verifiers.languages import FUNCTION_WORDS, NAMES, SAMPLES, SCRIPTS
from environments.instruction_following.words import NOT_EVEN_A_WORD

SCRIPT_SHARE = 0.7
"""Share of the letters that must be of the language's script; names and terms may stay in another."""

UNPUBLISHED = frozenset(("zh", "el"))
"""Languages that the public checkers do not know: they fail every reply."""

MAX_LETTERS = 200_000
"""How much of a very long text is looked at."""

_WORD = re.compile(r"[^\W\d_]+")


@cache
def script_of(character: str) -> str:
    """First word of the letter's Unicode name, such as LATIN, CYRILLIC, CJK, HANGUL; empty where it has none."""
    return unicodedata.name(character, "").partition(" ")[0]


def script_shares(text: str) -> dict[str, float]:
    counts: dict[str, int] = {}
    letters = 0
    for character in text[:MAX_LETTERS]:
        if character.isalpha():
            letters += 1
            name = script_of(character)
            counts[name] = counts.get(name, 0) + 1
    return {name: count / letters for name, count in counts.items()}


def function_hits(text: str) -> dict[str, int]:
    """How many words of the text are function words of each language."""
    hits = dict.fromkeys(FUNCTION_WORDS, 0)
    for match in _WORD.finditer(text[:MAX_LETTERS].casefold()):
        for language in _speakers().get(match[0], ()):
            hits[language] += 1
    return hits


@cache
def _speakers() -> dict[str, tuple[str, ...]]:
    table: dict[str, list[str]] = {}
    for language, text in FUNCTION_WORDS.items():
        for word in text.split():
            table.setdefault(word, []).append(language)
    return {word: tuple(languages) for word, languages in table.items()}


def is_language(text: str, language: str) -> bool:
    """True where script and function words speak for this language and for no other as much."""
    shares = script_shares(text)
    if sum(shares.get(script, 0.0) for script in SCRIPTS[language]) < SCRIPT_SHARE:
        return False
    if language == "ja":
        return shares.get("HIRAGANA", 0.0) + shares.get("KATAKANA", 0.0) > 0.05
    if language not in FUNCTION_WORDS:
        return True
    hits = function_hits(text)
    rivals = [count for other, count in hits.items() if other != language and SCRIPTS[other] == SCRIPTS[language]]
    return hits[language] > max([0, *rivals])


def may_be_english(text: str) -> bool:
    """Latin script, and no other language shows more function words (a three-word reply may show none at all)."""
    if script_shares(text).get("LATIN", 0.0) < SCRIPT_SHARE:
        return False
    hits = function_hits(text)
    return hits["en"] >= max(count for language, count in hits.items() if language != "en") - 1


def detected(text: str) -> str:
    """The language that the public checkers' detector names, seeded so that it always names the same; empty where it
    finds nothing to go by, which those checkers count as right."""
    import langdetect

    profiles.load()
    langdetect.DetectorFactory.seed = 0
    try:
        return str(langdetect.detect(text[:MAX_LETTERS]))
    except langdetect.LangDetectException:
        return ""


@register
class ResponseLanguage(Constraint):
    """The whole reply in one language; as published, a text that no detector can read counts as right."""

    id = "language:response_language"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"language": kinds.one_of(frozenset(SCRIPTS))}
    solo = True
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return f"Your entire response should be in {NAMES[given['language']]}, no other language is allowed."

    def sample(self, draw: Draw) -> Kwargs:
        return {"language": draw.rng.choice(sorted(set(SCRIPTS) - UNPUBLISHED))}

    def check(self, text: str, given: Kwargs) -> bool:
        return is_language(text, given["language"])

    def published(self, text: str, given: Kwargs) -> bool:
        return given["language"] not in UNPUBLISHED and detected(text) in (given["language"], "")

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return SAMPLES[given["language"]]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        other = "zh" if given["language"] == "en" else "en"
        return [SAMPLES[other], NOT_EVEN_A_WORD]
