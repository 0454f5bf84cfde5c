"""The detector's profiles in packed form are the detector's profiles."""

from __future__ import annotations

import langdetect
import pytest
from langdetect import detector_factory

from environments.instruction_following.verifiers import profiles

TEXTS = (
    "The quick brown fox jumps over the lazy dog. " * 5,
    "Der schnelle braune Fuchs",
    "今日は良い天気",
    "Hola amigo",
)


def test_every_ngram_has_the_same_numbers_and_every_text_the_same_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {}
    for name, load in (("theirs", detector_factory.init_factory), ("ours", profiles.load)):
        monkeypatch.setattr(detector_factory, "_factory", None)
        load()
        monkeypatch.setattr(langdetect.DetectorFactory, "seed", 0)
        said[name] = [str(langdetect.detect_langs(text)) for text in TEXTS], detector_factory._factory
    (words, theirs), (our_words, ours) = said["theirs"], said["ours"]
    assert our_words == words
    assert ours.langlist == theirs.langlist and len(ours.langlist) == 55
    assert ours.word_lang_prob_map.keys() == theirs.word_lang_prob_map.keys()
    assert all(ours.word_lang_prob_map[word] == row for word, row in theirs.word_lang_prob_map.items())
    assert "" not in ours.word_lang_prob_map and "\U0010ffff" * 3 not in ours.word_lang_prob_map
    with pytest.raises(KeyError):
        ours.word_lang_prob_map["qqqq"]


def test_what_the_detector_has_loaded_already_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    there = object()
    monkeypatch.setattr(detector_factory, "_factory", there)
    profiles.load()
    assert detector_factory._factory is there
