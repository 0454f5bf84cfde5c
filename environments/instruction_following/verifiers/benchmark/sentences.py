"""`sentence:*` and `format:emoji`: what holds from one sentence to the next, and what each of them ends with."""

from __future__ import annotations

from functools import cache
from itertools import groupby, pairwise
from string import punctuation
from typing import ClassVar

from environments.instruction_following.verifiers import kinds
from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.verifiers.benchmark.bare import without_punctuation
from environments.instruction_following.verifiers.benchmark.letters import plain
from environments.instruction_following.verifiers.punkt import punkt_sentences
from environments.instruction_following.verifiers.text import has_word, pieces, sentences, words
from environments.instruction_following.words import FILLER, NOT_EVEN_A_WORD

EMOJIS = ("😀", "🎉", "🌊", "🔥", "🌟", "🍋", "🚲", "🐯")
_JOINERS = "\ufe0f\ufe0e\u200d"
_TAIL = 12
"""So many characters hold any one emoji."""


@register
class AlliterationIncrement(Constraint):
    """The longest run of words with one initial grows from each sentence to the next; published: all runs together."""

    id = "sentence:alliteration_increment"
    benchmark = True
    solo = True
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return "Each sentence must have a longer sequence of consecutive alliterative words than the previous one."

    def check(self, text: str, given: Kwargs) -> bool:
        runs = [_longest_run(sentence) for sentence in sentences(text)]
        return len(runs) > 1 and all(a < b for a, b in pairwise(runs))

    def published(self, text: str, given: Kwargs) -> bool:
        totals = [_published_run(sentence) for sentence in punkt_sentences(text)]
        return all(a < b for a, b in pairwise(totals))

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        lines = []
        by_initial = {initial: list(run) for initial, run in groupby(sorted(FILLER), key=lambda word: word[0])}
        rich = [initial for initial, run in by_initial.items() if len(run) >= 6]
        size = max(3, len(keywords))
        for number in range(size):
            keyword = keywords[number] if number < len(keywords) else ""
            initial = draw.rng.choice([letter for letter in rich if letter != keyword[:1]])
            run = draw.rng.sample(by_initial[initial], min(number + 2, 6))
            lines.append(" ".join([*([keyword] if keyword else []), *run]) + ".")
        return " ".join(lines)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} {NOT_EVEN_A_WORD} able."]


def _longest_run(sentence: str) -> int:
    """How many words the longest run has; 0 where no two neighbours agree."""
    initials = [plain(word)[:1] for word in words(sentence)]
    longest = max(len(list(run)) for _, run in groupby(initials))
    return longest if longest > 1 else 0


def _published_run(sentence: str) -> int:
    stripped = (word.lstrip(punctuation + " ") for word in sentence.lower().split())
    runs = [len(list(run)) for _, run in groupby(word[0] for word in stripped if word)]
    return sum(run for run in runs if run > 1)


@register
class Increment(Constraint):
    """Each sentence, of two or more, has so many words more than the one before it."""

    id = "sentence:increment"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"small_n": kinds.positive}
    benchmark = True
    solo = True
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return f"Each sentence must contain exactly {given['small_n']} more words than the previous one."

    def sample(self, draw: Draw) -> Kwargs:
        return {"small_n": draw.count(1, 5)}

    def check(self, text: str, given: Kwargs) -> bool:
        counts = [len(words(sentence)) for sentence in sentences(text)]
        return len(counts) > 1 and all(b - a == given["small_n"] for a, b in pairwise(counts))

    def published(self, text: str, given: Kwargs) -> bool:
        counts = [len(without_punctuation(sentence).split()) for sentence in punkt_sentences(text)]
        return bool(counts) and all(b - a == given["small_n"] for a, b in pairwise(counts))

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        pool = iter([*keywords, *draw.rng.sample(FILLER, 60)])
        lengths = [3 + number * given["small_n"] for number in range(3)]
        return " ".join(" ".join(next(pool) for _ in range(length)) + "." for length in lengths)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text[:-1]} {NOT_EVEN_A_WORD}."]


@register
class Emoji(Constraint):
    """An emoji ends every sentence, before its mark or behind it."""

    id = "format:emoji"
    benchmark = True
    solo = True
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return "Please use an emoji at the end of every sentence."

    def check(self, text: str, given: Kwargs) -> bool:
        spoken: list[str] = []
        for piece in pieces(text):
            head = _leading_signs(piece)
            if spoken:
                spoken[-1] += head
            if has_word(piece):
                spoken.append(piece[len(head) :])
        return bool(spoken) and all(map(_ends_with_emoji, spoken))

    def published(self, text: str, given: Kwargs) -> bool:
        found = [without_punctuation(sentence).strip() for sentence in punkt_sentences(text)]
        ends = [any(map(_is_emoji, sentence[-2:])) for sentence in found]
        opens = [any(map(_is_emoji, sentence[:1])) for sentence in [*found[1:], ""]]
        return all(found) and all(end or opened for end, opened in zip(ends, opens, strict=False))

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        pool = iter([*keywords, *draw.rng.sample(FILLER, 9)])
        return " ".join(f"{next(pool)} {next(pool)} {next(pool)} {draw.rng.choice(EMOJIS)}." for _ in range(3))

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} {NOT_EVEN_A_WORD} {NOT_EVEN_A_WORD}."]


@cache
def _is_emoji(sign: str) -> bool:
    import emoji

    return emoji.is_emoji(sign)


def _leading_signs(piece: str) -> str:
    """What stands before the first letter or digit; an emoji there belongs to the sentence before."""
    at = next((at for at, sign in enumerate(piece) if sign.isalnum()), len(piece))
    return piece[:at]


def _ends_with_emoji(sentence: str) -> bool:
    tail = sentence.rstrip(punctuation + " …。！？”’»\n" + _JOINERS)[-_TAIL:]
    import emoji

    return any(match["match_end"] == len(tail) for match in emoji.emoji_list(tail))
