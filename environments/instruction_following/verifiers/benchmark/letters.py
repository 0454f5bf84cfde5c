"""`words:*` about the letters of words: initials, vowels, consonants, lengths, syllables, palindromes."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from string import ascii_lowercase
from typing import ClassVar

from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.verifiers.benchmark.bare import without_punctuation
from environments.instruction_following.verifiers.text import swap, words
from environments.instruction_following.verifiers.vocabulary import FIRST_TO_LAST, LONG_PALINDROMES
from environments.instruction_following.witness import Impossible, Plan
from environments.instruction_following.words import FILLER, NOT_EVEN_A_WORD

_CLUSTER = re.compile(r"[bcdfghjklmnpqrstvwxyz]{2}")
PRIMES = frozenset(n for n in range(2, 100) if all(n % d for d in range(2, n)))
NUM_PALINDROMES, PALINDROME_LENGTH = 10, 5


def plain(text: str) -> str:
    """Lower case, accents taken off."""
    return "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign)).lower()


class _Letters(Constraint):
    benchmark: ClassVar[bool] = True
    solo: ClassVar[bool] = True


@register
class Alphabet(_Letters):
    """Each word, of two or more, begins with the letter after the one before it, A after Z."""

    id = "words:alphabet"

    def describe(self, given: Kwargs) -> str:
        return "Each word must start with the next letter of the alphabet, looping back to A after Z."

    def check(self, text: str, given: Kwargs) -> bool:
        found = [ascii_lowercase.find(plain(word)[:1] or " ") for word in words(text)]
        return len(found) > 1 and min(found) >= 0 and all(b == (a + 1) % 26 for a, b in pairwise(found))

    def published(self, text: str, given: Kwargs) -> bool:
        found = without_punctuation(text).strip(" ").split()
        if not found or found[0][0].lower() not in ascii_lowercase:
            return False
        wanted = ascii_lowercase.index(found[0][0].lower())
        for word in found[1:]:
            wanted = (wanted + 1) % 26
            if word.lower()[0] != ascii_lowercase[wanted]:
                return False
        return True

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        start = draw.rng.randrange(26)
        made: list[str] = []
        left = list(keywords)
        while left or len(made) < 5:
            letter = ascii_lowercase[(start + len(made)) % 26]
            keyword = next((word for word in left if word[0].lower() == letter), "")
            if keyword:
                left.remove(keyword)
            made.append(keyword or FIRST_TO_LAST[ascii_lowercase.index(letter)])
        return " ".join(made) + "."

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} qux qux", f"qux {text}"]


@register
class Vowel(_Letters):
    """One paragraph whose vowels are of three kinds at most, accents or not; some vowel must be there."""

    id = "words:vowel"

    def describe(self, given: Kwargs) -> str:
        return "Write one paragraph with words that contain only three types of vowels."

    def check(self, text: str, given: Kwargs) -> bool:
        return "\n" not in text.strip() and 0 < len(set(plain(text)) & set("aeiou")) <= 3

    def published(self, text: str, given: Kwargs) -> bool:
        body = text.strip()
        return "\n" not in body and len(set(body.lower()) & set("aeiou")) <= 3

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        used = set("".join(keywords).lower()) & set("aeiou")
        if len(used) > 3:
            raise Impossible("the keywords have four kinds of vowels")
        allowed = used | set(draw.rng.sample(sorted(set("aeiou") - used), 3 - len(used)))
        fitting = [word for word in FILLER if set(word) & set("aeiou") <= allowed]
        return " ".join([*keywords, *draw.rng.sample(fitting, 4)]) + "."

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} aeiou"]


@register
class Consonants(_Letters):
    """Every word has two consonants side by side."""

    id = "words:consonants"

    def describe(self, given: Kwargs) -> str:
        return "Ensure each word in your response has at least one consonant cluster (two or more consonants together)."

    def check(self, text: str, given: Kwargs) -> bool:
        return all(_CLUSTER.search(plain(word)) for word in words(text))

    def published(self, text: str, given: Kwargs) -> bool:
        return all(_CLUSTER.search(word) for word in text.lower().split())

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return " ".join([*keywords, *draw.rng.sample([word for word in FILLER if _CLUSTER.search(word)], 4)]) + "."

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} open", f"open {text}"]


@register
class PrimeLengths(_Letters):
    """Every word has a prime number of letters and digits."""

    id = "words:prime_lengths"

    def describe(self, given: Kwargs) -> str:
        return "Use only words with lengths that are prime numbers."

    def check(self, text: str, given: Kwargs) -> bool:
        return all(sum(map(str.isalnum, word)) in PRIMES for word in words(text))

    def published(self, text: str, given: Kwargs) -> bool:
        return all(len(word) in PRIMES for word in without_punctuation(text).split())

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return " ".join([*keywords, *draw.rng.sample([word for word in FILLER if len(word) in PRIMES], 4)]) + "."

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} four"]


@register
class OddEvenSyllables(_Letters):
    """Words with odd and even numbers of syllables take turns; a word without a known number breaks the row."""

    id = "words:odd_even_syllables"

    def describe(self, given: Kwargs) -> str:
        return "Alternate between words with odd and even numbers of syllables."

    def check(self, text: str, given: Kwargs) -> bool:
        counts = [syllables(without_punctuation(word)) for word in words(text)]
        return len(counts) > 1 and all(counts) and all(a % 2 != b % 2 for a, b in pairwise(counts))

    def published(self, text: str, given: Kwargs) -> bool:
        counts = [syllables(word) for word in without_punctuation(text).lower().split()]
        return all(a % 2 != b % 2 for a, b in pairwise(counts))

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        piles: tuple[list[str], list[str]] = ([], [])
        for word in draw.rng.sample(FILLER, len(FILLER)):
            piles[syllables(word) % 2].append(word)
        for word in keywords:
            piles[syllables(word) % 2].append(word)
        length = 2 * (len(keywords) + 2)
        return " ".join(piles[(number + 1) % 2].pop() for number in range(length)) + "."

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} {words(text)[-1]}"]


def syllables(word: str) -> int:
    """How many syllables an English word has, 0 for what is none; the table that the public checker asks."""
    import syllapy

    return int(syllapy.count(word))


@register
class NoConsecutive(_Letters):
    """No two neighbouring words, of two or more, begin with the same letter."""

    id = "words:no_consecutive"

    def describe(self, given: Kwargs) -> str:
        return "No two consecutive words can share the same first letter."

    def check(self, text: str, given: Kwargs) -> bool:
        initials = [plain(word)[:1] for word in words(text)]
        return len(initials) > 1 and all(a != b for a, b in pairwise(initials))

    def published(self, text: str, given: Kwargs) -> bool:
        return all(a[0] != b[0] for a, b in pairwise(without_punctuation(text.lower()).split()))

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        made: list[str] = []
        for keyword in [*keywords, "", "", ""]:
            near = {keyword[:1], made[-1][0] if made else ""}
            free = [word for word in FILLER if word[0] not in near and word not in made]
            made += [draw.rng.choice(free), *([keyword] if keyword else [])]
        return " ".join(made) + "."

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} {NOT_EVEN_A_WORD} {NOT_EVEN_A_WORD}"]


@register
class Palindromes(Constraint):
    """Ten different words that are palindromes of five letters or more; as published, ten times the same will do."""

    id = "words:palindrome"
    benchmark = True

    def describe(self, given: Kwargs) -> str:
        return "Include at least 10 single-word palindromes, each at least 5 characters long."

    def check(self, text: str, given: Kwargs) -> bool:
        found = {word.casefold() for word in words(text)}
        return sum(_is_long_palindrome(word) for word in found) >= NUM_PALINDROMES

    def published(self, text: str, given: Kwargs) -> bool:
        found = without_punctuation(text).lower().split()
        return sum(len(word) >= PALINDROME_LENGTH and word == word[::-1] for word in found) >= NUM_PALINDROMES

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.include += plan.rng.sample(LONG_PALINDROMES, NUM_PALINDROMES)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        for word in words(text):
            if _is_long_palindrome(word.casefold()):
                text = swap(text, word, NOT_EVEN_A_WORD)
        return [text]


def _is_long_palindrome(word: str) -> bool:
    return len(word) >= PALINDROME_LENGTH and word.isalpha() and len(set(word)) > 1 and word == word[::-1]
