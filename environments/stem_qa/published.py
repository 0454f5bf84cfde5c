r"""The public verifier's reward for a choice, its weaknesses included (NVIDIA-NeMo/Gym @ 07d6b0d0, `mcqa/app.py`).

    text (thinking included) ─▶ the row's own expressions ─▶ else the grading mode ─▶ letter == expected ─▶ 1 | 0

The expressions of a row win over the mode and may name letters that are no options. Expressions written here match
what the public ones match, in linear time; those of the row run for `bounded.SECONDS` at most. Where the public
verifier raises (a server error there, no reward) the reward is 0.0 and the reason says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from environments.stem_qa.bounded import Slow, matches
from environments.stem_qa.options import Options, folded, last_box, unwrapped

MODES = ("strict_single_letter_boxed", "lenient_boxed", "lenient_answer_colon", "lenient_answer_colon_md")
"""The first is the default; the last can only be set for a whole server there, here a row may ask for it."""

_ONLY = re.compile(r"[^A-Za-z]*([A-Z])[^A-Za-z]*")
_LABEL = re.compile(r"\s*([A-Z])\s*[:).\-]")
_COLON = re.compile(r"answer\s*:\s*(.+)", re.IGNORECASE)
_COLON_MD = re.compile(r"[*_]{0,2}Answer[*_]{0,2}\s*:[*_\s]{0,2}(.+)", re.IGNORECASE)
_LONE = re.compile(r"(?<![A-Za-z])([A-Za-z])(?![A-Za-z])")
_LEADING = re.compile(r"([a-zA-Z])(?![a-zA-Z0-9])")
_WORD_LETTER = re.compile(r"\b[A-Z]\b")
_BETWEEN = re.compile(r"\s*[/|&,;]\s*|\s+(?:or|and)\s+|\s+", re.IGNORECASE)

LOCAL = str.maketrans(
    {
        **dict(zip("أبجد", (" A", " B", " C", " D"), strict=True)),
        **dict(zip("অবডঢ", (" A", " B", " C", " D"), strict=True)),
        **dict(zip("ＡＢＣＤ", (" A", " B", " C", " D"), strict=True)),
    }
)
"""Arabic, Bengali and fullwidth letters, which the public verifier reads as A to D."""


@dataclass(slots=True, frozen=True)
class Question:
    """What is asked of a reply: `expected` in upper case, `expressions` of the row in the order they are tried."""

    options: Options
    expected: str
    mode: str = MODES[0]
    expressions: tuple[str, ...] = ()

    @property
    def letters(self) -> set[str]:
        return {letter for letter, _ in self.options}


def grade_published(question: Question, text: str) -> tuple[float, str]:
    """Reward and reason; `text` is all of the policy's output texts, as they came."""
    text = text.strip()
    if not text:
        return 0.0, "empty"
    try:
        letter = _letter(question, text)
    except Slow as error:
        return 0.0, f"an expression of the row: {error}"
    except AttributeError as error:
        return 0.0, f"the public verifier raises ({type(error).__name__})"
    if letter is None:
        return 0.0, "no answer"
    return float(bool(question.expected) and letter == question.expected), f"read {letter[:40]}"


def _letter(question: Question, text: str) -> str | None:
    for expression in question.expressions:
        found = _by_expression(question, expression, text)
        if found is not None:
            return found
    return _BY_MODE[question.mode](question, text)


def _by_expression(question: Question, expression: str, text: str) -> str | None:
    try:
        found = matches(expression, text)
    except re.error:
        return None
    if not found:
        return None
    last = found[-1].value
    if isinstance(last, tuple):
        raise AttributeError("several groups")
    captured = last.strip().translate(LOCAL).strip().upper()
    if len(captured) == 1 and captured.isalpha():
        return captured
    return _same_text(question, captured)


def _same_text(question: Question, text: str) -> str | None:
    wanted = folded(text)
    return next((letter for letter, option in question.options if folded(option) == wanted), None)


def boxed_letter(question: Question, text: str) -> str | None:
    """A single letter in the last box, or the letter that its content begins with as a label."""
    box = last_box(text)
    if box is None:
        return None
    box = unwrapped(box.strip())
    found = _ONLY.fullmatch(box) or _LABEL.match(box)
    return found[1] if found and found[1] in question.letters else None


def _boxed_letter_or_text(question: Question, text: str) -> str | None:
    letter = boxed_letter(question, text)
    box = last_box(text)
    if letter is not None or box is None:
        return letter
    contents = [folded(box.strip()), folded(unwrapped(box.strip()))]
    contained = {
        letter
        for letter, option in question.options
        if folded(option) and any(folded(option) in content for content in contents)
    }
    return contained.pop() if len(contained) == 1 else None


def _after_colon(question: Question, text: str) -> str | None:
    found = _COLON.search(text)
    if found is None:
        return None
    answer = unwrapped(found[1]).strip()
    if len(answer) == 1 and answer.isalpha() and answer.upper() in question.letters:
        return answer.upper()
    return _same_text(question, answer)


def _after_last_colon(question: Question, text: str) -> str | None:
    payloads = [found[1] for found in _COLON_MD.finditer(text)]
    letters = (_choice(payload, question.letters) for payload in reversed(payloads))
    return next((letter for letter in letters if letter is not None), None)


def _choice(payload: str, letters: set[str]) -> str | None:
    """The one choice in what follows `Answer:`; a list of different choices is none."""
    payload = payload.translate(LOCAL).strip().strip("*_` \t\n\r.,;:")
    if _is_list(payload, letters):
        return None
    if len(payload) == 1:
        letter = payload
    elif found := _LEADING.match(payload):
        letter = found[1]
    else:
        letter = (_WORD_LETTER.findall(payload) or [""])[-1]
    return letter.upper() if letter and letter.upper() in letters else None


def _is_list(payload: str, letters: set[str]) -> bool:
    named = [found for found in _LONE.finditer(payload) if found[1].upper() in letters]
    return any(
        left[1].upper() != right[1].upper() and _BETWEEN.fullmatch(payload, left.end(), right.start()) is not None
        for left, right in pairwise(named)
    )


_BY_MODE = {
    "strict_single_letter_boxed": boxed_letter,
    "lenient_boxed": _boxed_letter_or_text,
    "lenient_answer_colon": _after_colon,
    "lenient_answer_colon_md": _after_last_colon,
}
