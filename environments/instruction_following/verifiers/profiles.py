"""The profiles of the public language detector, kept small: 88,000 n-grams have two languages each, not fifty-five.

The detector keeps a list of 55 numbers for every n-gram, 60 MB in each worker. Here three arrays hold those that are
not zero, sorted by n-gram, and an n-gram's list is made when the detector asks for it: the same numbers, so the same
answers.

    codes          the n-gram of each pair (n-gram, language) as a number, rising: its characters, 21 bits each
    languages, probabilities      the pairs' other halves, at the same places
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

_BITS = 21
"""Of a character; one is added to each, so that none is nothing."""


class PackedRows(Mapping[str, list[float]]):
    """N-gram ─▶ probability by language; stored as (language, probability) pairs, read as the whole list."""

    def __init__(self) -> None:
        self.num_languages = 0
        self._codes = array("Q")
        self._languages = array("B")
        self._probabilities = array("d")
        self._place = lru_cache(4096)(self._find)  # a text asks for the same few hundred again and again

    def add(self, word: str, language: int, probability: float) -> None:
        """In any order of words, languages rising; `close` ends it."""
        self._codes.append(_code(word))
        self._languages.append(language)
        self._probabilities.append(probability)

    def close(self) -> None:
        """Sort what was added: only then can it be found."""
        order = sorted(range(len(self._codes)), key=self._codes.__getitem__)
        self._codes = array("Q", map(self._codes.__getitem__, order))
        self._languages = array("B", map(self._languages.__getitem__, order))
        self._probabilities = array("d", map(self._probabilities.__getitem__, order))

    def __contains__(self, word: object) -> bool:
        return self._place(word) is not None

    def __getitem__(self, word: str) -> list[float]:
        row = [0.0] * self.num_languages
        place = self._place(word)
        if place is None:
            raise KeyError(word)
        code = self._codes[place]
        while place < len(self._codes) and self._codes[place] == code:
            row[self._languages[place]] = self._probabilities[place]
            place += 1
        return row

    def _find(self, word: object) -> int | None:
        """Where the pairs of an n-gram begin."""
        code = _code(word) if isinstance(word, str) and len(word) <= 3 else 0
        place = bisect_left(self._codes, code)
        return place if place < len(self._codes) and self._codes[place] == code else None

    def __iter__(self) -> Iterator[str]:
        last = 0
        for code in self._codes:
            if code != last:
                yield _word(code)
            last = code

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _code(word: str) -> int:
    code = 0
    for character in word:
        code = code << _BITS | ord(character) + 1
    return code


def _word(code: int) -> str:
    word = ""
    while code:
        word = chr((code & (1 << _BITS) - 1) - 1) + word
        code >>= _BITS
    return word


def load() -> None:
    """Give the detector its profiles in this form, once; what it has loaded already stays."""
    from langdetect import detector_factory

    if detector_factory._factory is not None:
        return

    class Factory(detector_factory.DetectorFactory):
        """Reads the same files in the same order."""

        def __init__(self) -> None:
            super().__init__()
            self.word_lang_prob_map = PackedRows()

        def add_profile(self, profile: Any, index: int, langsize: int) -> None:
            self.word_lang_prob_map.num_languages = langsize
            self.langlist.append(profile.name)
            for word, count in profile.freq.items():
                if 1 <= len(word) <= 3:
                    self.word_lang_prob_map.add(word, index, 1.0 * count / profile.n_words[len(word) - 1])

    factory = Factory()
    factory.load_profile(detector_factory.PROFILES_DIRECTORY)
    factory.word_lang_prob_map.close()
    detector_factory._factory = factory
