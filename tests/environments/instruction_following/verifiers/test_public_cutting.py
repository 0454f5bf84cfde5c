"""How the public checkers cut texts: by a model that is imitated, by rules, into words; and which words are verbs."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.instruction_following.verifiers.punkt import punkt_sentences
from environments.instruction_following.verifiers.ruled import ruled_sentences
from environments.instruction_following.verifiers.treebank import treebank_words
from environments.instruction_following.verifiers.verbs import is_verb


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. Smith met J. Doe. They left.", ["Dr. Smith met J. Doe.", "They left."]),
        ("Title\n\nText. More", ["Title\n\nText.", "More"]),
        ('He said "Stop." Then left.', ['He said "Stop."', "Then left."]),
        ("(Go.) Stay.", ["(Go.)", "Stay."]),
        ("What?! Really!!! Yes", ["What?!", "Really!!!", "Yes"]),
        ("Wait... what", ["Wait... what"]),
        ("Wait... The end", ["Wait...", "The end"]),
        ("Version 3.5 is out.Now", ["Version 3.5 is out.Now"]),
        ("In 1990. the war", ["In 1990. the war"]),
        ("  ", []),
    ],
)
def test_sentences_of_the_model(text: str, cut: list[str]) -> None:
    assert punkt_sentences(text) == cut


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Mr. A. Smith paid 3.50 at shop.com. But why?", ["Mr. A. Smith paid 3.50 at shop.com.", "But why?"]),
        ("Wait... what", ["Wait...", "what"]),
        ('He said "Stop." Then left.', ['He said "Stop".', "Then left."]),
        ("The U.S. is big. The U.S. We know.", ["The U.S. is big.", "The U.S.", "We know."]),
        ("Ink Inc. sells. Ink Inc. They sell", ["Ink Inc. sells.", "Ink Inc", "They sell"]),
        ("No mark\nat all", ["No mark at all"]),
        ("", []),
    ],
)
def test_sentences_of_the_rules(text: str, cut: list[str]) -> None:
    assert ruled_sentences(text) == cut


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("Don't stop, it's 3,000.", ["Do", "n't", "stop", ",", "it", "'s", "3,000", "."]),
        ('"Go," he said.', ["``", "Go", ",", "''", "he", "said", "."]),
        ("I cannot -- (really) wait...", ["I", "can", "not", "--", "(", "really", ")", "wait", "..."]),
        ("the dogs' e.g. ones!", ["the", "dogs", "'", "e.g", ".", "ones", "!"]),
        ("well-known a/b", ["well-known", "a/b"]),
        ("word" + "'s" * 3, ["word's's", "'s"]),
    ],
)
def test_words_of_the_treebank(text: str, cut: list[str]) -> None:
    assert treebank_words(text) == cut


@given(st.text(max_size=200))
def test_cutting_loses_no_letter(text: str) -> None:
    letters = [sign for sign in text if sign.isalnum()]
    assert [sign for piece in punkt_sentences(text) for sign in piece if sign.isalnum()] == letters
    assert [sign for piece in treebank_words(text) for sign in piece if sign.isalnum()] == letters


@pytest.mark.parametrize("piece", [". ", " .", "?! ", "!", ".)", "A. ", "'s", "``", "...", ". . ", ".\n", "e.g. "])
def test_cutting_is_linear(piece: str) -> None:
    started = time.process_time()
    for cut in (punkt_sentences, ruled_sentences, treebank_words):
        cut("word " + piece * (50_000 // len(piece)))
    assert time.process_time() - started < 10.0  # one quadratic pass would take minutes


@pytest.mark.parametrize("word", ["Write", "made", "Making", "tries", "planned", "Is", "Don't", "Whirring"])
def test_verbs(word: str) -> None:
    assert is_verb(word)


@pytest.mark.parametrize("word", ["The", "Nothing", "Morning", "red", "cats", "thus", "7", "", "ing"])
def test_other_words(word: str) -> None:
    assert not is_verb(word)
