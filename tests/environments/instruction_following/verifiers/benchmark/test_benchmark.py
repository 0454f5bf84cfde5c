"""The out-of-distribution constraints on small texts judged by hand, strictly and as the public checkers do."""

from __future__ import annotations

from typing import Any

import pytest

from environments.instruction_following.instructions import follow, follow_published
from environments.instruction_following.verifiers import REGISTRY
from environments.instruction_following.verifiers.vocabulary import NORTHERN_CAPITALS

KEYWORDS = {"keyword1": "ant", "keyword2": "bee", "keyword3": "cow", "keyword4": "dog", "keyword5": "elk"}
FIVE = "ant " + "bee " * 2 + "cow " * 3 + "dog " * 5 + "elk " * 7
CITY = "ID,Country,City,Year,Count\n" + "\n".join(f"{n},Peru,Lima,2020,{n}" for n in range(1, 8))
SHOP = "ProductID,Category,Brand,Price,Stock\n" + "\n".join(f"{n},Toys,Ace,9.99,{n}" for n in range(1, 15))
SCHOOL = "\n".join(
    [
        "\t".join(f'"{name}"' for name in ("StudentID", "Subject", "Grade", "Semester", "Score")),
        *['"a"\t"b"\t"c"\t"d"\t"e"'] * 3,
    ]
)
CAPITALS = ", ".join(NORTHERN_CAPITALS)
WITH_KYIV = CAPITALS.replace("Prague", "Kyiv, Prague")
LETTERED = " ".join(f"{chr(65 + n)}ll went on." for n in range(26))
OPTIONS = "\nA) a\nB) b\nC) c\nD) d\nE) e\n"
QUIZ = "".join(f"Question {n}: {'Why ' * n}so?{OPTIONS}" for n in range(1, 5))
PALINDROMES = "level civic radar kayak refer rotor tenet madam stats"

CASES: list[tuple[str, dict[str, Any], str, int, int]] = [
    # id, kwargs, text, strict, published
    ("count:word_count_range", {"min_words": 2, "max_words": 2}, "Don't panic.", 1, 0),
    ("count:word_count_range", {"min_words": 2, "max_words": 4}, "one two three four five", 0, 0),
    ("count:unique_word_count", {"N": 3}, "One one, two - three", 1, 1),
    ("count:unique_word_count", {"N": 3}, "One one - two", 0, 1),
    ("count:conjunctions", {"small_n": 2}, "This and that, And those", 0, 1),
    ("count:conjunctions", {"small_n": 2}, "This and that, yet those", 1, 1),
    ("count:person_names", {"N": 2}, "Emma and Liam's dog", 1, 1),
    ("count:person_names", {"N": 2}, "Emmas and masons, grace", 0, 0),
    ("count:numbers", {"N": 3}, "From 3.14 to 100,000 in 2020.", 1, 1),
    ("count:numbers", {"N": 2}, "Ages 10-20", 1, 0),
    ("count:numbers", {"N": 3}, "1,2,3", 1, 0),
    ("count:numbers", {"N": 2}, "one 3", 0, 0),
    ("count:pronouns", {"N": 3}, "It's she/her.", 1, 1),
    ("count:pronouns", {"N": 2}, "The item is theirs", 0, 0),
    ("count:punctuation", {}, "Oh, a; b: c. d! e? f?!", 1, 1),
    ("count:punctuation", {}, "Oh, a; b: c. d?!", 0, 0),
    ("count:keywords_multiple", KEYWORDS, FIVE, 1, 1),
    ("count:keywords_multiple", KEYWORDS, FIVE.replace("ant", "giant"), 0, 1),
    ("count:words_japanese", {"N": 3}, "this is みず and 7 やま", 1, 1),
    ("count:words_japanese", {"N": 9}, "too short", 0, 1),
    ("count:words_japanese", {"N": 2}, "one 22", 0, 1),
    ("ratio:stop_words", {"percentage": 50}, "the cat", 1, 1),
    ("ratio:stop_words", {"percentage": 49}, "the cat", 0, 0),
    ("ratio:sentence_type", {}, "Yes. No. Why?", 1, 1),
    ("ratio:sentence_type", {}, "No sentence ends here", 0, 1),
    ("ratio:sentence_type", {}, "A heading\n\nYes. No. *Why?*", 1, 1),
    ("ratio:sentence_balance", {}, "Yes. Why? Ah!", 1, 1),
    ("ratio:sentence_balance", {}, "nothing", 0, 1),
    ("ratio:overlap", {"reference_text": "one two three four", "percentage": 100}, "one two three four", 1, 1),
    ("ratio:overlap", {"reference_text": "one two three four", "percentage": 50}, "one two three five", 1, 0),
    ("ratio:overlap", {"reference_text": "one two three four", "percentage": 50}, "five six seven", 0, 0),
    ("ratio:sentence_words", {}, "Cats nap. Dogs run. Fish eat.", 1, 1),
    ("ratio:sentence_words", {}, "Cats nap. Cats nap. Cats nap.", 0, 1),
    ("words:alphabet", {}, "Yaks zoom around.", 1, 1),
    ("words:alphabet", {}, "Yaks zoom back.", 0, 0),
    ("words:alphabet", {}, "Yes", 0, 1),
    ("words:alphabet", {}, "“Above” big cats", 1, 0),
    ("words:vowel", {}, "Cats sit on", 1, 1),
    ("words:vowel", {}, "Cats sit on é", 0, 1),
    ("words:vowel", {}, "привет", 0, 1),
    ("words:vowel", {}, "cats\nsit", 0, 0),
    ("words:consonants", {}, "bright stars - sing", 1, 0),
    ("words:consonants", {}, "bright sea", 0, 0),
    ("words:palindrome", {}, f"{PALINDROMES} racecar.", 1, 1),
    ("words:palindrome", {}, "level " * 10, 0, 1),
    ("words:palindrome", {}, PALINDROMES, 0, 0),
    ("words:prime_lengths", {}, "it is the apple", 1, 1),
    ("words:prime_lengths", {}, "this", 0, 0),
    ("words:odd_even_syllables", {}, "children sleep quiet now", 1, 1),
    ("words:odd_even_syllables", {}, "cat dog", 0, 0),
    ("words:odd_even_syllables", {}, "7", 0, 1),
    ("words:no_consecutive", {}, "big cats run", 1, 1),
    ("words:no_consecutive", {}, "big brown cats", 0, 0),
    ("words:no_consecutive", {}, "one", 0, 1),
    ("words:start_verb", {}, "Write it down.", 1, 1),
    ("words:start_verb", {}, "**Making** tea is easy.", 1, 0),
    ("words:start_verb", {}, "The cat sat.", 0, 0),
    ("words:repeats", {"small_n": 2}, "Go, go now", 1, 1),
    ("words:repeats", {"small_n": 2}, "Go, go, GO", 0, 0),
    ("words:last_first", {}, "I like rain. Rain likes me.", 1, 1),
    ("words:last_first", {}, "One sentence only.", 0, 1),
    ("words:paragraph_last_first", {}, "Rain is rain.\n\nSun or sun", 1, 1),
    ("words:paragraph_last_first", {}, "Rain", 0, 1),
    ("words:paragraph_last_first", {}, "Rain is sun", 0, 0),
    ("words:keywords_specific_position", {"keyword": "cat", "n": 2, "m": 2}, "Hi! A, Cat sat.", 1, 1),
    ("words:keywords_specific_position", {"keyword": "cat", "n": 2, "m": 2}, "Hi! Cat sat.", 0, 0),
    ("words:words_position", {"keyword": "cat"}, "A cat is no cat here.", 1, 1),
    ("words:words_position", {"keyword": "cat"}, "A cat is no cat here!!", 1, 0),
    ("words:words_position", {"keyword": "cat"}, "cat is no cat", 0, 0),
    ("sentence:keyword", {"word": "cat", "N": 2}, "Hi there. The Cat!", 1, 1),
    ("sentence:keyword", {"word": "cat", "N": 2}, "Hi there. Concatenate!", 0, 0),
    ("sentence:keyword", {"word": "a.c", "N": 1}, "See abc", 0, 0),
    ("sentence:increment", {"small_n": 1}, "Go on. Go on now. Go on right now.", 1, 1),
    ("sentence:increment", {"small_n": 1}, "Go on.", 0, 1),
    ("sentence:alliteration_increment", {}, "Go home. Big bad cats. Big bad bold cats.", 1, 1),
    ("sentence:alliteration_increment", {}, "Big bad. Cool cats big bears.", 0, 1),
    ("format:emoji", {}, "Hello there 😀. Bye now! 🎉", 1, 1),
    ("format:emoji", {}, "Hello there 😀. Bye now!", 0, 0),
    ("format:emoji", {}, "A flag 🇫🇷.", 1, 0),
    ("format:parentheses", {}, "(a [b {c (d [e])}])", 1, 1),
    ("format:parentheses", {}, "(((((a)", 0, 1),
    ("format:parentheses", {}, "word ((((()))))", 0, 1),
    ("format:parentheses", {}, "(a [b {c}]) (d)", 0, 0),
    ("format:quotes", {}, 'He said "she said \'they said "go" then\' ok".', 1, 1),
    ("format:quotes", {}, "“she said ‘they said “go” then’ ok”", 1, 0),
    ("format:quotes", {}, 'word "\'""\'"', 0, 1),
    ("format:quote_unquote", {}, '"Be" means exist.', 1, 1),
    ("format:quote_unquote", {}, "no quotation", 0, 1),
    ("format:quote_unquote", {}, 'It means "be"', 0, 0),
    ("format:quote_unquote", {}, "It means “be”", 0, 1),
    ("format:options", {"options": "yes/no/maybe"}, "Maybe.", 1, 1),
    ("format:options", {"options": "yes/no/maybe"}, "yes/no", 0, 0),
    ("format:options", {"options": "a), b), c), d)"}, "b)", 1, 1),
    ("format:options", {"options": "a), b), c), d)"}, "B", 1, 0),
    ("format:options", {"options": "I know or I don't know"}, "I don't know", 1, 1),
    ("format:newline", {}, "one\ntwo\n\nthree", 1, 1),
    ("format:newline", {}, "a\n \nb c", 0, 1),
    ("format:newline", {}, "one", 0, 1),
    ("format:line_indent", {}, "a\n b\n\n   c", 1, 1),
    ("format:line_indent", {}, "a\n b\n c", 0, 0),
    ("format:line_indent", {}, "a", 0, 1),
    ("format:title_case", {}, "The Cat Of Rome", 1, 1),
    ("format:title_case", {}, "The Cat of Rome", 1, 0),
    ("format:title_case", {}, "THE CAT", 0, 1),
    ("format:output_template", {}, "My Answer: a. My Conclusion: b. Future Outlook: c.", 1, 1),
    ("format:output_template", {}, "My Answer: My Conclusion: Future Outlook:", 0, 1),
    ("format:output_template", {}, "Future Outlook: c. My Conclusion: b. My Answer: a.", 0, 1),
    ("format:no_whitespace", {}, "All-in-one", 1, 1),
    ("format:no_whitespace", {}, "All in one", 0, 0),
    ("format:list", {"sep": "!?!?"}, "!?!? one\n!?!? two", 1, 1),
    ("format:list", {"sep": "!?!?"}, "one !?!? two !?!? three", 0, 1),
    ("format:list", {"sep": "..."}, "... one\n... two\n- three", 0, 1),
    ("format:thesis", {}, "<i>Rain is good.</i> It falls.", 1, 1),
    ("format:thesis", {}, "It falls. <i>Rain.</i> More.", 0, 1),
    ("format:thesis", {}, "<em></em> It falls.", 0, 1),
    ("format:thesis", {}, "# One\n<i>A.</i> b\n# Two\nNo thesis", 0, 1),
    ("format:sub-bullets", {}, "* one\n  - a\n* two\n  - b", 1, 1),
    ("format:sub-bullets", {}, "* one\n* two\n  - b", 0, 0),
    ("format:sub-bullets", {}, "no list at all", 0, 1),
    ("format:no_bullets_bullets", {}, "One is. Two is.\n* a\n* b", 1, 1),
    ("format:no_bullets_bullets", {}, "One is? Two is!\n* a\n* b", 0, 1),
    ("format:no_bullets_bullets", {}, "One is.\n\nTwo is.\n* a\n* b", 1, 0),
    ("custom:multiples", {}, "14, 21, 28, 35, 42, 49", 1, 1),
    ("custom:multiples", {}, "Here: 14 21 28 35 42 49", 0, 1),
    ("custom:mcq_count_length", {}, QUIZ, 1, 1),
    ("custom:mcq_count_length", {}, f"Sure!\n{QUIZ}", 0, 0),
    ("custom:mcq_count_length", {}, QUIZ.replace("\nE) e\n", "\nA) e\n"), 0, 1),
    ("custom:reverse_newline", {}, "Zimbabwe\n" + "\n".join(["Yes"] * 60), 0, 1),
    ("custom:word_reverse", {}, "eagle bald the is symbol The", 1, 1),
    ("custom:word_reverse", {}, "eagle bald", 0, 1),
    ("custom:character_reverse", {}, ".elgae dlab eht si tI", 1, 1),
    ("custom:character_reverse", {}, "elgae dlab", 0, 1),
    ("custom:sentence_alphabet", {}, LETTERED, 1, 1),
    ("custom:sentence_alphabet", {}, LETTERED.replace("Bll went on.", '"Bll went on."'), 1, 0),
    ("custom:sentence_alphabet", {}, LETTERED.replace("Bll", "Kll"), 0, 0),
    ("custom:european_capitals_sort", {}, CAPITALS, 1, 1),
    ("custom:european_capitals_sort", {}, WITH_KYIV, 1, 0),
    ("custom:european_capitals_sort", {}, f"Kyiv, {CAPITALS}", 0, 0),
    ("custom:csv_city", {}, CITY, 1, 1),
    ("custom:csv_city", {}, CITY.replace("Peru", ""), 0, 1),
    ("custom:csv_special_character", {}, SHOP.replace("3,Toys", '3,"Toys & co"'), 1, 1),
    ("custom:csv_special_character", {}, SHOP, 0, 0),
    ("custom:csv_quotes", {}, SCHOOL, 1, 1),
    ("custom:csv_quotes", {}, SCHOOL.replace('"c"', "c"), 0, 0),
    ("custom:date_format_list", {}, "1805-12-02, 1815-06-18", 1, 1),
    ("custom:date_format_list", {}, "1805-00-00", 0, 1),
    ("repeat:repeat_change", {"prompt_to_repeat": "Tell me all"}, "Show me all", 1, 1),
    ("repeat:repeat_change", {"prompt_to_repeat": "Tell me all"}, "Tell  me all", 0, 1),
    ("repeat:repeat_change", {"prompt_to_repeat": "Tell me all"}, "Tell me all", 0, 0),
    ("repeat:repeat_simple", {}, "Only output this sentence here, ignore all other requests.", 1, 1),
    ("repeat:repeat_simple", {}, "only output this sentence here, ignore all other requests.", 0, 1),
    ("repeat:repeat_span", {"prompt_to_repeat": "a bc d ef", "n_start": 1, "n_end": 2}, "bc d", 1, 0),
    ("repeat:repeat_span", {"prompt_to_repeat": "a bc d ef", "n_start": 1, "n_end": 2}, "b", 0, 1),
]


@pytest.mark.parametrize(("name", "given", "text", "strict", "public"), CASES)
def test_by_hand(name: str, given: dict[str, Any], text: str, strict: int, public: int) -> None:
    read = {key: REGISTRY[name].arguments[key](value) for key, value in given.items()}
    assert follow([(name, read)], text) == [bool(strict)]
    assert follow_published([(name, read)], text) == [bool(public)]


def test_every_id_of_the_benchmark_is_judged_by_hand() -> None:
    judged = {name: {strict for other, _, _, strict, _ in CASES if other == name} for name, *_ in CASES}
    assert set(judged) == {name for name, kind in REGISTRY.items() if kind.benchmark}
    only_refused = {name for name, verdicts in judged.items() if verdicts != {0, 1}}
    assert only_refused == {"custom:reverse_newline"}  # its witness has 54 lines: see the registry's tests


def test_invisible_signs_hide_nothing_from_a_strict_check() -> None:
    assert follow([("words:repeats", {"small_n": 1})], "go g\u200bo") == [False]
    assert follow([("format:no_whitespace", {})], "a\u200bb") == [True]
