"""How texts are cut, on examples counted by hand, and that nothing is slow."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.instruction_following.verifiers import text


@pytest.mark.parametrize(
    ("prose", "count"),
    [
        ("One. Two! Three?", 3),
        ("Dr. Smith met J. Doe at 3.5 km.", 1),
        ("No end", 1),
        ("Wait... what?! Yes.", 3),
        ("First line\n\nsecond block", 2),
        ("* one item\n* two items\n* three", 3),
        ("1. first\n2. second", 2),
        ('He said "Stop." Then he left.', 2),
        ("...!?", 0),
        ("", 0),
        ("今天很好。明天也好！", 2),
        ("wrapped\nline of one sentence.", 1),
    ],
)
def test_sentences_are_counted_as_people_count(prose: str, count: int) -> None:
    assert len(text.sentences(prose)) == count


@pytest.mark.parametrize(
    ("prose", "phrase", "count"),
    [
        ("Cat, cat; CAT!", "cat", 3),
        ("concatenate", "cat", 0),
        ("the cat's cat-flap", "cat", 2),
        ("C++ and C", "C++", 1),
        ("new\n york, New York", "new york", 2),
        ("a.c abc", "a.c", 1),
        ("aaa aaaa", "aaa", 1),
    ],
)
def test_phrases_are_whole_words_and_never_patterns(prose: str, phrase: str, count: int) -> None:
    assert text.count_phrase(prose, phrase) == count


def test_paragraphs_and_dividers() -> None:
    assert text.divided("a\n***\nb") == ["a", "b"]
    assert text.divided("***\na\n***\n") == ["a"]
    assert text.divided("a\n***\n\n***\nb") == ["a", "", "b"]
    assert text.divided("a ***bold*** b") == ["a ***bold*** b"]
    assert text.blocks("a\nb\n\n \nc") == ["a\nb", "c"]


def test_bullets_are_lines_with_something_in_them() -> None:
    assert len(text.bullets("* a\n- b\n  + c\n• d")) == 4
    assert text.bullets("***\n---\n*\n-\n*bold* start\n-5 degrees") == []


def test_invisible_characters_are_removed() -> None:
    assert text.visible("in\u200bevi\u00adtable\ufeff") == "inevitable"


def test_swap_replaces_whole_words_only() -> None:
    assert text.swap("Cat concatenates cat.", "cat", "dog") == "dog concatenates dog."


@given(st.text(max_size=300))
def test_cutting_never_raises_and_keeps_words(prose: str) -> None:
    found = text.words(prose)
    assert sum(len(text.words(sentence)) for sentence in text.sentences(prose)) <= len(found) + prose.count("\n")
    assert all(text.has_word(sentence) for sentence in text.sentences(prose))
    assert text.edge(prose) == text.edge(text.edge(prose))


@pytest.mark.parametrize(
    "piece", [" ", "\n", "*", "[", "<", ".", "a", '."', "a.-", "\n*", "。", "p. ", "a\n\n", "-\n", "1"]
)
def test_a_megabyte_is_cut_in_linear_time(piece: str) -> None:
    def seconds(size: int) -> float:
        prose = piece * (size // len(piece))
        started = time.process_time()
        for cut in (text.sentences, text.words, text.blocks, text.divided, text.bullets, text.edge):
            cut(prose)
        return time.process_time() - started

    # Quadratic work on a megabyte would take minutes; linear work a fraction of a second.
    assert seconds(1_000_000) < 5.0
