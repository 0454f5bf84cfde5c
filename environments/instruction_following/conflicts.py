"""Which constraints do not go together in one generated task.

A clique allows one of its members; a pair excludes each other. Rows from outside may combine what they like: this
table only keeps the generator from asking for what its witness cannot show.
"""

from __future__ import annotations

from collections.abc import Iterable

_FIRST = {
    "first_word:first_word_answer",
    "first_word:first_word_sent",
    "keywords:start_end",
    "length_constraints:nth_paragraph_first_word",
    "detectable_format:multiple_sections",
    "startend:quotation",
    "words:start_verb",
}
_LAST = {
    "last_word:last_word_answer",
    "last_word:last_word_sent",
    "keywords:start_end",
    "startend:end_checker",
    "detectable_content:postscript",
}
_DIVISION = {
    "length_constraints:number_paragraphs",
    "length_constraints:nth_paragraph_first_word",
    "paragraphs:paragraphs",
    "paragraphs:paragraphs2",
    "detectable_format:multiple_sections",
}
_CASE = {
    "change_case:english_capital",
    "change_case:english_lowercase",
    "change_case:capital_word_frequency",
    "count:lowercase_counting",
    "format:title_case",
}
_LETTERS = {
    "keywords:letter_frequency",
    "letters:letter_counting2",
    "letters:letter_counting",
    "length_constraints:number_words",
    "count:count_unique",
    "count:word_count_range",
}
_PLACES = {"keywords:keyword_specific_position", "sentence:keyword", "words:keywords_specific_position"}
_EXACT_CASE = {"detectable_format:multiple_sections", "detectable_content:postscript"}
_NAMED = {"count:person_names"}
"""Their capitals matter."""
_MANY_TIMES = {
    "keywords:frequency",
    "keywords:word_count_different_numbers",
    "count:count_increment_word",
    "count:keywords_multiple",
    "keywords:start_end",
    "first_word:first_word_sent",
    "last_word:last_word_sent",
}
_SMALL_WORDS = {"count:conjunctions", "count:pronouns"}
_SENTENCE_ENDS = {"startend:end_checker", "detectable_content:postscript", "detectable_format:multiple_sections"}
_SENTENCES = {"first_word:first_word_sent", "last_word:last_word_sent", "length_constraints:number_sentences"}

CLIQUES: tuple[set[str], ...] = (_FIRST, _LAST, _DIVISION, _CASE, _LETTERS, _PLACES)
PRODUCTS: tuple[tuple[set[str], set[str]], ...] = (
    (_EXACT_CASE, _CASE),
    (_SENTENCE_ENDS, _SENTENCES),
    (_PLACES, {"detectable_format:multiple_sections", "first_word:first_word_sent"}),
    (_NAMED, {"change_case:english_capital", "change_case:english_lowercase", "count:lowercase_counting"}),
    (_SMALL_WORDS, {"ratio:stop_words"}),
    ({"words:repeats", "count:count_unique"}, {*_MANY_TIMES, "count:pronouns"}),
    ({"count:numbers"}, {"detectable_format:multiple_sections"}),
    ({"format:quotes"}, {"startend:quotation"}),
    ({"words:palindrome"}, {"keywords:palindrome"}),
    ({"keywords:letter_frequency", "letters:letter_counting2"}, {"detectable_format:multiple_sections"}),
    ({"detectable_content:postscript", "startend:quotation"}, {"startend:end_checker"}),
    ({"punctuation:punctuation_dot"}, {"detectable_content:postscript"}),
    ({"punctuation:punctuation_exclamation"}, {"startend:end_checker"}),
    (
        {"count:count_unique"},
        {
            "startend:end_checker",
            "detectable_format:multiple_sections",
            "detectable_content:postscript",
        },
    ),
)


def _table() -> frozenset[frozenset[str]]:
    pairs = {frozenset((a, b)) for clique in CLIQUES for a in clique for b in clique if a != b}
    pairs |= {frozenset((a, b)) for left, right in PRODUCTS for a in left for b in right if a != b}
    return frozenset(pairs)


CONFLICTS = _table()
"""Unordered pairs of ids."""


def compatible(candidate: str, chosen: Iterable[str]) -> bool:
    """True where this id may join those; the same id never twice."""
    return all(candidate != other and frozenset((candidate, other)) not in CONFLICTS for other in chosen)
