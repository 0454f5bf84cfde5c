"""The profiles of the public language detector, kept small: 88,000 n-grams have two languages each, not fifty-five.

The detector keeps a list of 55 numbers for every n-gram, 60 MB in each worker. Here an n-gram keeps those that are not
zero, packed, and its list is made when the detector asks for it: the same numbers, so the same answers.
"""

from __future__ import annotations

import struct
from typing import Any

_ENTRY = struct.Struct("<Bd")


class PackedRows(dict[str, Any]):
    """N-gram ─▶ probability by language; stored as (language, probability) pairs, read as the whole list."""

    def __init__(self) -> None:
        super().__init__()
        self.num_languages = 0

    def add(self, word: str, language: int, probability: float) -> None:
        self[word] = self.get(word, b"") + _ENTRY.pack(language, probability)

    def __getitem__(self, word: str) -> list[float]:
        row = [0.0] * self.num_languages
        for language, probability in _ENTRY.iter_unpack(self.get(word, b"")):
            row[language] = probability
        return row


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
    detector_factory._factory = factory
