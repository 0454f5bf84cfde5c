"""A text that satisfies several constraints at once, built rather than searched for.

    constraints ─▶ Plan (what the text needs) ─▶ sentences ─▶ layout ─▶ text

Each constraint writes its needs into one `Plan`; `render` fills it with words that no constraint names. That the text
is right is not argued here: the generator runs the verifiers over it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from environments.instruction_following.words import FILLER, PALINDROMES

WORDS_PER_SENTENCE = 3
TAGS = ("think",)
"""In angular brackets these are read as the model's own marks: what follows would be thinking, and graded by nobody."""

_WORD = re.compile(r"[^\W_]+")


class Impossible(Exception):
    """The plan asks for more than these words can give; another draw may do."""


@dataclass(slots=True)
class Plan:
    """What a witness needs. Empty means: free."""

    rng: random.Random
    first: str = ""
    last: str = ""
    sentence_first: str = ""
    sentence_last: str = ""
    include: list[str] = field(default_factory=list)
    avoid: set[str] = field(default_factory=set)
    placed: tuple[int, int, str] | None = None
    num_sentences: int = 1
    num_words: int = 0
    distinct: bool = False
    num_letters: int = 0
    letter: str = ""
    num_of_letter: int = 0
    scarce_letter: str = ""
    num_paragraphs: int = 1
    divider: str = "\n\n"
    paragraph_first: tuple[int, str] | None = None
    section: str = ""
    num_bullets: int = 0
    num_placeholders: int = 0
    num_highlights: int = 0
    num_capitals: int = 0
    title: bool = False
    palindrome: bool = False
    postscript: str = ""
    end_phrase: str = ""
    quoted: bool = False
    bare_end: bool = False
    case: str = ""
    marks: str = ".!?"


def render(plan: Plan) -> str:
    """The text. Raises `Impossible` where the words run out."""
    fill = _filler(plan)
    sentences = _sentences(plan, fill)
    text = _layout(plan, sentences)
    mark = plan.marks[0]
    if plan.end_phrase:
        text += ("\n" if plan.num_bullets else " ") + plan.end_phrase
    if plan.postscript:
        text += f"\n{plan.postscript} {next(fill)} {next(fill)}{mark}"
    if plan.quoted:
        text = f'"{text}"'
    return _CASES[plan.case](text)


_CASES: dict[str, Callable[[str], str]] = {
    "": str,
    "upper": str.upper,
    "lower": str.lower,
    "title": lambda text: _WORD.sub(lambda word: word[0].capitalize(), text),
}


def _filler(plan: Plan) -> Iterator[str]:
    """Words nobody asked about, each of them once."""
    avoid = {word.casefold() for word in plan.avoid}
    free = [word for word in FILLER if word not in avoid and not (plan.scarce_letter and plan.scarce_letter in word)]
    plan.rng.shuffle(free)
    yield from free
    raise Impossible("out of filler words")


def _sentences(plan: Plan, fill: Iterator[str]) -> list[list[str]]:
    count = max(plan.num_sentences, plan.num_paragraphs + plan.num_bullets, 2 if plan.num_bullets else 1)
    if plan.placed:
        count = max(count, plan.placed[0] + 1)
    inner = [[next(fill) for _ in range(WORDS_PER_SENTENCE)] for _ in range(count)]
    fixed = plan.placed[0] - 1 if plan.placed else -1
    open_to_more = [number for number in range(count) if number != fixed]
    for number, token in enumerate(_extras(plan, fill)):
        inner[open_to_more[number % len(open_to_more)]].insert(1, token)
    starts = _paragraph_starts(plan, count)
    sentences = []
    for number, middle in enumerate(inner):
        front, back = _front(plan, number, starts), _back(plan, number, count)
        sentences.append([*([front] if front else []), *middle, *([back] if back else [])])
    if plan.placed:
        _place(plan.placed, sentences[fixed], fill)
    _lengthen(plan, [sentences[number] for number in open_to_more], sentences, fill)
    return sentences


def _extras(plan: Plan, fill: Iterator[str]) -> list[str]:
    """Keywords and decorated words; each stands inside a sentence, so no first or last word moves."""
    extras = list(plan.include)
    if plan.title:
        extras.append(f"<<{next(word for word in fill if word not in TAGS)}>>")
    extras += [f"[{next(fill)}]" for _ in range(plan.num_placeholders)]
    extras += [f"*{next(fill)}*" for _ in range(plan.num_highlights)]
    extras += [next(fill).upper() for _ in range(plan.num_capitals)]
    if plan.palindrome:
        extras.append(plan.rng.choice(PALINDROMES))
    return extras


def _front(plan: Plan, number: int, starts: list[int]) -> str:
    if plan.paragraph_first and starts[plan.paragraph_first[0] - 1] == number:
        return plan.paragraph_first[1]
    if number == 0 and plan.first:
        return plan.first
    return plan.sentence_first


def _back(plan: Plan, number: int, count: int) -> str:
    return plan.last if number == count - 1 and plan.last else plan.sentence_last


def _place(placed: tuple[int, int, str], sentence: list[str], fill: Iterator[str]) -> None:
    _, position, word = placed
    while len(sentence) < position + 1:
        sentence.insert(1, next(fill))
    sentence[position - 1] = word


def _lengthen(plan: Plan, growing: list[list[str]], sentences: list[list[str]], fill: Iterator[str]) -> None:
    """Put words inside the sentences until the counts that are wanted are reached."""
    turn = 0
    lettered = [word for word in FILLER if plan.letter and plan.letter in word and word not in plan.avoid]
    while True:
        joined = " ".join(" ".join(sentence) for sentence in sentences)
        if joined.lower().count(plan.letter or "\n") < plan.num_of_letter:
            word = plan.rng.choice(lettered)
        elif len(joined.split()) < plan.num_words or sum(map(str.isalpha, joined)) < plan.num_letters:
            plenty = plan.num_words > len(FILLER) // 2 and not plan.distinct
            word = plan.rng.choice(FILLER) if plenty else next(fill)
        else:
            return
        growing[turn % len(growing)].insert(1, word)
        turn += 1


def _paragraph_starts(plan: Plan, count: int) -> list[int]:
    """Number of the sentence that opens each paragraph; bullets all belong to the last one."""
    prose = count - plan.num_bullets
    return [number * prose // plan.num_paragraphs for number in range(plan.num_paragraphs)]


def _layout(plan: Plan, sentences: list[list[str]]) -> str:
    mark = plan.marks[0]
    count = len(sentences)
    texts = [" ".join(sentence) + mark for sentence in sentences]
    if plan.bare_end:
        texts[-1] = texts[-1][: -len(mark)]
    prose = count - plan.num_bullets
    starts = [*_paragraph_starts(plan, count), prose]
    paragraphs = [" ".join(texts[start:stop]) for start, stop in pairwise(starts)]
    if plan.section:
        paragraphs = [f"{plan.section} {number}\n{body}" for number, body in enumerate(paragraphs, 1)]
    listed = "".join(f"\n* {text}" for text in texts[prose:])
    return plan.divider.join(paragraphs) + listed
