"""Every verifier: a witness it accepts, a counter-example it refuses, and no text that makes it raise."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import environments.instruction_following as package
from environments.instruction_following.instructions import (
    counterexample,
    follow,
    follow_published,
    witness,
)
from environments.instruction_following.verifiers import REGISTRY, Draw

IDS = sorted(REGISTRY)
IFEVAL = """
keywords:existence keywords:frequency keywords:forbidden_words keywords:letter_frequency language:response_language
length_constraints:number_sentences length_constraints:number_paragraphs length_constraints:number_words
length_constraints:nth_paragraph_first_word detectable_content:number_placeholders detectable_content:postscript
detectable_format:number_bullet_lists detectable_format:constrained_response
detectable_format:number_highlighted_sections detectable_format:multiple_sections detectable_format:json_format
detectable_format:title combination:two_responses combination:repeat_prompt startend:end_checker startend:quotation
change_case:capital_word_frequency change_case:english_capital change_case:english_lowercase punctuation:no_comma
"""
IFBENCH = """
count:word_count_range count:unique_word_count ratio:stop_words ratio:sentence_type ratio:sentence_balance
count:conjunctions count:person_names ratio:overlap count:numbers words:alphabet words:vowel words:consonants
sentence:alliteration_increment words:palindrome count:punctuation format:parentheses format:quotes
words:prime_lengths format:options format:newline format:emoji ratio:sentence_words count:words_japanese
words:start_verb words:repeats sentence:keyword count:pronouns words:odd_even_syllables words:last_first
words:paragraph_last_first sentence:increment words:no_consecutive format:line_indent format:quote_unquote
format:list format:thesis format:sub-bullets format:no_bullets_bullets custom:multiples custom:mcq_count_length
custom:reverse_newline custom:word_reverse custom:character_reverse custom:sentence_alphabet
custom:european_capitals_sort custom:csv_city custom:csv_special_character custom:csv_quotes custom:date_format_list
count:keywords_multiple words:keywords_specific_position words:words_position repeat:repeat_change
repeat:repeat_simple repeat:repeat_span format:title_case format:output_template format:no_whitespace
"""
STRICTER_IN_KIND = {"new:copy_span_idx", "count:counting_composition", "repeat:repeat_span"}
"""Where prompt and public checker say different things, no text satisfies both: see README."""
DETECTED = {"change_case:english_capital", "change_case:english_lowercase"}
"""The public detector takes a few words without grammar for any language."""


def test_all_published_ids_are_known() -> None:
    assert len(REGISTRY) == 112
    assert set(IFEVAL.split()) <= set(REGISTRY)
    assert len(IFEVAL.split()) == 25
    assert {name for name, kind in REGISTRY.items() if kind.benchmark} == set(IFBENCH.split())
    assert len(set(IFBENCH.split())) == 58


@pytest.mark.parametrize("name", IDS)
def test_witness_follows_and_counterexample_does_not(name: str) -> None:
    for seed in range(25):
        rng = random.Random(seed)
        given_kwargs = REGISTRY[name].sample(Draw(rng, level=1 + seed % 5))
        instructions = [(name, given_kwargs)]
        text = witness(instructions, rng)
        assert follow(instructions, text) == [True]
        broken = counterexample(instructions, 0, text)
        assert follow(instructions, broken) == [False], (given_kwargs, broken)
        if name not in STRICTER_IN_KIND | DETECTED:
            assert follow_published(instructions, text) == [True], (given_kwargs, text)
            edits = REGISTRY[name].spoil(text, given_kwargs)
            assert any(follow_published(instructions, edited) == [False] for edited in edits), (given_kwargs, text)


@pytest.mark.parametrize("name", IDS)
def test_sampled_kwargs_are_of_the_declared_kinds(name: str) -> None:
    for seed in range(20):
        sampled = REGISTRY[name].sample(Draw(random.Random(seed), level=seed % 6))
        assert sampled.keys() == REGISTRY[name].arguments.keys()
        for key, kind in REGISTRY[name].arguments.items():
            assert kind(sampled[key]) == sampled[key]


@pytest.mark.parametrize("name", IDS)
def test_the_description_says_every_kwarg(name: str) -> None:
    sampled = REGISTRY[name].sample(Draw(random.Random(3), level=3))
    wish = REGISTRY[name].describe(sampled)
    for key, value in sampled.items():
        if key in ("relation", "language"):  # exact counts state no relation; languages are said by name
            continue
        for piece in value if isinstance(value, list) else [value]:
            assert re.search(rf"(?<!\w){re.escape(str(piece))}", wish), (key, piece, wish)


SILENT = [
    "",
    " \n\t",
    "!!!",
    "...",
    "\u200b",
    "******",
    "[][]",
    "<<>>",
    '""',
    "。、",
    "😀",
    ",,,,",
    "?!.,;:",
    "((([[{}]])))",
]


@pytest.mark.parametrize("text", SILENT)
def test_nothing_to_read_follows_nothing(text: str) -> None:
    for name in IDS:
        sampled = REGISTRY[name].sample(Draw(random.Random(0), level=1))
        assert follow([(name, sampled)], text) == [False], name


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200), st.integers(0, 1000))
def test_no_text_makes_a_verifier_raise(text: str, seed: int) -> None:
    rng = random.Random(seed)
    instructions = [(name, REGISTRY[name].sample(Draw(rng, level=seed % 6))) for name in IDS]
    assert len(follow(instructions, text)) == len(follow_published(instructions, text)) == len(IDS)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["*", "***", "\n", "\n\n", "<<", ">>", "[", "]", '"', "Section 1", "P.S.", "-", ".",
                                 "word", "{", "1", " ", "```json", "******", "# ", "。", "p."]), max_size=60),
       st.integers(0, 50))  # fmt: skip
def test_no_heap_of_markup_makes_a_verifier_raise(pieces: list[str], seed: int) -> None:
    text = "".join(pieces)
    instructions = [(name, REGISTRY[name].sample(Draw(random.Random(seed)))) for name in IDS]
    assert len(follow(instructions, text)) == len(follow_published(instructions, text)) == len(IDS)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="().*+?[]{}|^$\\ab ", min_size=1, max_size=20).filter(lambda word: word.strip()))
def test_a_keyword_of_regular_expression_signs_is_plain_text(keyword: str) -> None:
    keyword = keyword.strip()
    inside = [("keywords:existence", {"keywords": [keyword]})]
    assert follow(inside, f"see {keyword} here") == [True]
    assert follow(inside, "see nothing here") == [False]
    assert follow_published(inside, f"see {keyword} here") == [True]


HEAPS = ["a", "*", "[", "<<a ", "\n", "\n* x", ". ", "p. ", "[{", "Section 1\n"]
HEAPS += ["'s", "?! ", '"', "(", "1,", '"a",', "<i>"]


@pytest.mark.parametrize("fill", HEAPS)
def test_a_huge_reply_of_one_piece_is_graded_by_every_verifier(fill: str) -> None:
    text = "word " + fill * (30_000 // len(fill))
    instructions = [(name, REGISTRY[name].sample(Draw(random.Random(1)))) for name in IDS]
    # Together they take some two seconds; one quadratic pass over this text would take minutes.
    started = time.process_time()
    assert len(follow(instructions, text)) == len(follow_published(instructions, text)) == len(IDS)
    assert time.process_time() - started < 15.0


@pytest.mark.parametrize("size", [200_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_a_long_reply_of_words_is_graded_by_every_verifier(size: int) -> None:
    instructions = [(name, REGISTRY[name].sample(Draw(random.Random(1)))) for name in IDS]
    started = time.process_time()
    for loose in (False, True):
        assert len(follow(instructions, "word " * (size // 5), loose=loose)) == len(IDS)
        assert len(follow_published(instructions, "word " * (size // 5), loose=loose)) == len(IDS)
    assert time.process_time() - started < 60.0


@pytest.mark.parametrize(
    ("name", "given_kwargs", "text", "strict"),
    [
        ("keywords:word_count_different_numbers", {"keyword": "a", "frequency": 2, "relation": "at least"}, "a a a", 0),
        ("keywords:keyword_specific_position", {"keyword": "stone", "n": 2, "m": 3}, "One. See the stone.", 1),
        ("keywords:keyword_specific_position", {"keyword": "stone", "n": 2, "m": 3}, "See the stone. One.", 0),
        ("keywords:start_end", {}, "Rain and rain", 1),
        ("keywords:start_end", {}, "Rain and rain.", 0),
        ("keywords:no_adjacent_consecutive", {}, "apple bear", 0),
        ("keywords:no_adjacent_consecutive", {}, "bear apple", 1),
        ("keywords:palindrome", {}, "www aaa", 0),
        ("keywords:palindrome", {}, "A Level test", 1),
        ("count:count_unique", {}, "One two. three two", 0),
        ("letters:letter_counting", {"N": 4, "relation": "less than"}, "a1b2c3", 1),
        ("letters:letter_counting2", {"letter": "a", "let_frequency": 3, "let_relation": "at least"}, "A banana", 1),
        ("count:counting_composition", {"n_sent": 1, "n_words": 2}, "a b.\n***\nc d.\n***\ne f.", 1),
        ("count:counting_composition", {"n_sent": 1, "n_words": 2}, "a b.\n***\nc d.", 0),
        ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "Intro:\n* one\n- two", 1),
        ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a b* and **c**", 1),
        ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "* a *", 0),
        ("detectable_format:bigram_wrapping", {}, "<<I am>> <<at home>> <<now>>", 1),
        ("detectable_format:bigram_wrapping", {}, "<<I am at home>>", 0),
        ("detectable_format:square_brackets", {}, "[one] [two]", 1),
        ("detectable_format:square_brackets", {}, "[one two]", 0),
        ("detectable_format:sentence_hyphens", {}, "One is here.-Two is there!", 1),
        ("detectable_format:sentence_hyphens", {}, "One is here. Two is there.", 0),
        ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', 1),
        ("detectable_format:json_format", {}, 'Here: {"a": 1}', 0),
        ("detectable_format:json_format", {}, "[" * 100_000, 0),
        ("detectable_format:multiple_sections", {"section_spliter": "Day", "num_sections": 2},
         "Day 1\na\n## Day 2\nb", 1),
        ("detectable_format:multiple_sections", {"section_spliter": "Day", "num_sections": 2}, "Day 2\na\nDay 1\nb", 0),
        ("copy:copy", {"prompt_to_repeat": "Say hi"}, "Say  hi\n", 1),
        ("copy:copy", {"prompt_to_repeat": "Say hi"}, "say hi", 0),
        ("copy:copying_multiple", {"prompt_to_repeat": "Hi", "N": 2}, "Hi\n******\nHi", 1),
        ("new:copy_span_idx", {"prompt_to_repeat": "abcdef", "n_start": 1, "n_end": 3}, "bcd", 1),
        ("copy:repeat_phrase", {"phrase": "a b c", "small_n": 2}, "a x c, a y c", 1),
        ("copy:repeat_phrase", {"phrase": "a b c", "small_n": 2}, "a b c, a y c", 0),
        ("combination:two_responses", {}, "Go left.\n******\nGo right.", 1),
        ("combination:two_responses", {}, "Go left.\n******\nGo left!", 0),
        ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "go"},
         "a\n\n\n\"Go\" now", 1),
        ("startend:end_checker", {"end_phrase": "The end."}, '"It is THE END."', 1),
        ("startend:quotation", {}, '"a" and b', 0),
        ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Body.\n\nP.S. more", 1),
        ("detectable_content:postscript", {"postscript_marker": "P.S."}, "P.S. more\n\nBody.", 0),
        ("change_case:english_capital", {}, "RAIN IS STONE", 1),
        ("change_case:english_capital", {}, "DAS HAUS IST AUF DEM BERG", 0),
        ("punctuation:punctuation_dot", {}, "no dots… here", 0),
    ],
)  # fmt: skip
def test_by_hand(name: str, given_kwargs: dict[str, object], text: str, strict: int) -> None:
    read = {key: REGISTRY[name].arguments[key](value) for key, value in given_kwargs.items()}
    assert follow([(name, read)], text) == [bool(strict)]


def test_the_readme_has_a_line_for_every_id() -> None:
    readme = (Path(package.__file__).parent / "README.md").read_text()
    for name, kind in REGISTRY.items():
        assert f"| `{name}`{' ~' if kind.approximate else ''} | {', '.join(kind.arguments) or '–'} |" in readme, name
