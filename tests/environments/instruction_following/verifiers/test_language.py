"""Languages are told by script and function words; too little evidence is none."""

from __future__ import annotations

import pytest

from environments.instruction_following.verifiers.language import is_language, may_be_english
from environments.instruction_following.verifiers.languages import FUNCTION_WORDS, NAMES, SAMPLES, SCRIPTS


def test_every_language_is_complete() -> None:
    assert set(SCRIPTS) == set(NAMES) == set(SAMPLES)
    assert set(FUNCTION_WORDS) <= set(SCRIPTS)


@pytest.mark.parametrize("language", sorted(SCRIPTS))
def test_a_sentence_is_of_its_own_language_and_no_other(language: str) -> None:
    assert [other for other in sorted(SCRIPTS) if is_language(SAMPLES[language], other)] == [language]


@pytest.mark.parametrize("text", ["12345", "!!!", "", "qux", "kx vlg mnbr"])
def test_no_evidence_is_no_language(text: str) -> None:
    assert not any(is_language(text, language) for language in SCRIPTS)


def test_short_english_is_given_the_benefit_and_other_languages_are_not() -> None:
    assert may_be_english("rain is stone")
    assert not may_be_english(SAMPLES["de"])
    assert not may_be_english(SAMPLES["ru"])
