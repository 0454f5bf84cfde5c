"""Attacks on instruction following: constraints that empty, odd or copied text keeps in the public checkers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gym_core.loading import load_file

arena = load_file(Path(__file__).resolve().parents[1] / "arena.py")

PROMPT = "Write two sentences about the sea and the harbour of a small town."


def row(*asked: tuple[str, dict[str, Any] | None], mode: str = "binary", **more: Any) -> dict[str, Any]:
    return {
        "responses_create_params": {"input": [{"role": "user", "content": PROMPT}]},
        "prompt": PROMPT,
        "instruction_id_list": [name for name, _ in asked],
        "kwargs": [kwargs for _, kwargs in asked],
        "grading_mode": mode,
        **more,
    }


NO_COMMA = ("punctuation:no_comma", None)
FORBIDDEN = ("keywords:forbidden_words", {"forbidden_words": ["sea"]})
RARE = ("keywords:letter_frequency", {"letter": "z", "let_frequency": 3, "let_relation": "less than"})
ENGLISH = ("language:response_language", {"language": "en"})
SHORT = ("length_constraints:number_words", {"num_words": 50, "relation": "less than"})
LOWER = ("change_case:english_lowercase", None)
NO_DOT = ("punctuation:punctuation_dot", None)
NO_MARK = ("punctuation:punctuation_exclamation", None)
FEW_LOWER = ("count:lowercase_counting", {"N": 5})
KEYWORD = ("keywords:existence", {"keywords": ["cat"]})
JSON = ("detectable_format:json_format", None)
TWO = ("combination:two_responses", None)
PALINDROME = ("keywords:palindrome", None)
BULLETS = ("detectable_format:number_bullet_lists", {"num_bullets": 2})
QUOTED = ("startend:quotation", None)
LAST = ("last_word:last_word_answer", {"last_word": "harbour"})
TITLE = ("detectable_format:title", None)
EMPTY_PASSES = {
    "no comma": NO_COMMA,
    "forbidden words": FORBIDDEN,
    "a rare letter": RARE,
    "language": ENGLISH,
    "few words": SHORT,
    "no dot": NO_DOT,
    "no exclamation": NO_MARK,
    "few lower-case words": FEW_LOWER,
}
NOTHING = {
    "silence": "",
    "blanks": " \n ",
    "punctuation": "!!! ... ---",
    "invisible characters": "\u200b\u2060",
    "marks alone": "* * *",
    "emoji": "\U0001f600\U0001f600",
}
SINGLE: dict[str, tuple[tuple[str, dict[str, Any] | None], str]] = {
    "a language of digits": (ENGLISH, "12345"),
    "a language of marks": (ENGLISH, "!!!"),
    "a keyword inside another word": (KEYWORD, "We concatenate strings."),
    "a keyword in other letters": (KEYWORD, "The c\u0430t sleeps."),
    "a keyword spread out": (KEYWORD, "The c a t sleeps."),
    "a keyword cut by an invisible letter": (KEYWORD, "The con\u200bcat word."),
    "JSON that is a number": (JSON, "3"),
    "JSON that is a word": (JSON, '"sea"'),
    "JSON with words after it": (JSON, '{"a": 1} done'),
    "two answers of a letter": (TWO, "a******b"),
    "two answers alike": (TWO, "The sea is wide.******The sea is wide."),
    "an empty second answer": (TWO, "The sea is wide.******"),
    "a palindrome of one letter": (PALINDROME, "a"),
    "the prompt for few words": (SHORT, PROMPT),
    "bullets without words": (BULLETS, "* \n* "),
    "quotation marks alone": (QUOTED, '""'),
    "the last word in the middle": (LAST, "The harbour is old."),
    "the last word and more": (LAST, "At the harbour, perhaps."),
    "the last word spread": (LAST, "At the har bour"),
    "a title without words": (TITLE, "<<>>"),
    "a title of blanks": (TITLE, "<<   >>"),
    "capitals for small letters": (LOWER, "THE SEA"),
    "digits for small letters": (LOWER, "123"),
    "a comma in other letters": (NO_COMMA, ""),
}
FIRST_LINE = "Sure, here it is:\nThe sea is wide."
BOMBS = {
    "a megabyte of words": "sea " * 260_000,
    "a megabyte without blanks": "a" * (1 << 20),
    "a hundred thousand lines": "a\n" * 100_000,
    "quotes without end": "\"'" * 200_000,
    "stars without end": "*" * 500_000,
    "brackets without end": "[" * 200_000 + "]" * 200_000,
    "dots without end": ". " * 200_000,
    "a long palindrome": "ab" * 100_000 + "a",
}
PATTERN = ("keywords:existence", {"keywords": ["(a+)+$"]})
ALL = (NO_COMMA, FORBIDDEN, ENGLISH, SHORT)


def attacks() -> list[Any]:
    made = [
        arena.Attack(name=f"{what}: {how}", row=row(asked), output=said)
        for what, asked in EMPTY_PASSES.items()
        for how, said in NOTHING.items()
    ]
    made += [arena.Attack(name=name, row=row(asked), output=said) for name, (asked, said) in SINGLE.items()]
    heavy = row(KEYWORD, TWO, JSON, PALINDROME)
    made += arena.texts(heavy, BOMBS, bomb=True)
    rows = {
        "nothing asked": (row(), "instruction_id_list"),
        "an unknown id": (row(("keywords:any", None)), "instruction_id_list[0]"),
        "fewer kwargs than ids": ({**row(NO_COMMA, LOWER), "kwargs": [None]}, "kwargs"),
        "kwargs missing": (row(("keywords:existence", {})), "kwargs[0]"),
        "no keywords": (row(("keywords:existence", {"keywords": []})), "kwargs[0]"),
        "an unknown mode": (row(NO_COMMA, mode="any"), "grading_mode"),
        "ids that are no list": ({**row(), "instruction_id_list": "punctuation:no_comma"}, "instruction_id_list"),
        "a kwarg nobody knows": (row(("punctuation:no_comma", {"reward": 1})), "kwargs[0]"),
    }
    made += [
        arena.Attack(name=f"row: {name}", row=given, output="The sea is wide.", refused=field)
        for name, (given, field) in rows.items()
    ]
    return [
        *made,
        arena.Attack(name="words of a pattern", row=row(PATTERN), output="a" * 50 + "!", bomb=True),
        arena.Attack(name="one of four broken", row=row(*ALL), output="The sea is wide."),
        arena.Attack(name="a first line that loose grading drops", row=row(NO_COMMA), output=FIRST_LINE),
        arena.Attack(name="half of it for nothing", row=row(NO_COMMA, KEYWORD, mode="fraction"), output=""),
        arena.Attack(name="a share", row=row(NO_COMMA, KEYWORD, mode="fraction"), output="The sea is wide.", worth=0.5),
        arena.Attack(name="the plain answer", row=row(NO_COMMA), output="The sea is wide.", worth=1.0),
    ]
