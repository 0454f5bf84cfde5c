r"""Strict grading: one answer, in the form that the row asks for, among the letters that are offered.

    thinking is cut ─▶ the row's own expressions ─▶ else the grading mode ─▶ exactly one offered letter ─▶ compared

Where the published rule takes the first of several letters, a letter that only begins a word, a letter beside another
option's text or a letter in another script, nothing is read here. An answer is a letter, a letter with its own
option's text, or (where the mode or the expression allows text) exactly one option's text.
"""

from __future__ import annotations

import re

from environments.stem_qa.bounded import Slow, matches
from environments.stem_qa.options import BOX, folded, last_box, unwrapped
from environments.stem_qa.published import LOCAL, Question

MAX_LENGTH = 400_000
_BRACES = re.compile(r"\\boxed\{|[{}]")
_MARKUP = "*_`$ \t\r\n"
_LABELLED = re.compile(r"[(\[]?([A-Za-z])\s*(?:[:).\]\-]+\s*(.*))?", re.DOTALL)
_COLON = re.compile(r"(?<![a-z])answer[*_]{0,2}[ \t]*:[ \t]*([^\n]*)", re.IGNORECASE)
_LETTER = r"[\s(\[*_`$]*([A-Za-z])(?![A-Za-z0-9])"
_JOINED = re.compile(r"[\s)\].:*_`$}]*(?:[/|&,;+]|\b(?:or|and|und|ou|oder)\b)" + _LETTER)
_SIDE_BY_SIDE = re.compile(r"[\s)\].:]+" + _LETTER + r"\s*(?:[)\].:,;/]|$)")


class Unclear(ValueError):
    """Why no single answer can be read."""


def grade_strict(question: Question, text: str) -> tuple[float, str, str]:
    """Reward, reason, and the letter that was read (empty where there is none)."""
    if not text.strip():
        return 0.0, "empty", ""
    if len(text) > MAX_LENGTH:
        return 0.0, "a reply of too many characters", ""
    try:
        letter = _read(question, text)
    except Unclear as error:
        return 0.0, str(error), ""
    return float(letter == question.expected), f"read {letter}", letter


def _read(question: Question, text: str) -> str:
    for expression in question.expressions:
        letter = _by_expression(question, expression, text)
        if letter is not None:
            return letter
    return _BY_MODE[question.mode](question, text)


# Expressions of the row ------------------------------------------------------------------------------------------


def _by_expression(question: Question, expression: str, text: str) -> str | None:
    """The answer in the last match, or None where nothing matches."""
    try:
        found = matches(expression, text)
    except re.error:
        return None
    except Slow as error:
        raise Unclear(f"an expression of the row: {error}") from None
    if not found:
        return None
    last = found[-1]
    groups = last.value if isinstance(last.value, tuple) else (last.value,)
    captured = next((group for group in reversed(groups) if group.strip()), "").strip()
    letter = _offered(question, _local(captured, expression))
    if letter is None and len(captured) > 1:
        letter = _one_text(question, captured)
    if letter is None:
        raise Unclear(f"{captured[:20]!r} is no option")
    if len(captured) == 1:
        start, end = last.span
        position = text.rfind(captured, start, end)
        _stands_alone(text, position)
        _no_list(question, letter, text[position + 1 :])
    _no_other_box(question, letter, text)
    return letter


def _local(captured: str, expression: str) -> str:
    """An Arabic or Bengali letter is one of A to D where the row's expression names such letters itself."""
    if len(captured) == 1 and not captured.isascii() and captured in _scripts(expression):
        return captured.translate(LOCAL).strip()
    return captured


def _scripts(expression: str) -> str:
    """The letters of the scripts that an expression asks for; fullwidth forms never count."""
    scripts = ("أبجد", "অবডঢ")
    return "".join(script for script in scripts if any(letter in expression for letter in script))


def _stands_alone(text: str, position: int) -> None:
    """A letter inside a word is no answer: `Answer: Because …` does not say B."""
    around = text[max(position - 1, 0) : position], text[position + 1 : position + 2]
    if any(character.isalnum() or character == "\\" for character in around):
        raise Unclear("a letter inside a word")
    joint, following = text[position + 1 : position + 2], text[position + 2 : position + 3]
    if joint in ("'", "’", "-", "‐") and joint and following.isalnum():
        raise Unclear("a letter inside a word")


def _no_other_box(question: Question, letter: str, text: str) -> None:
    """A box with another option contradicts."""
    box = last_box(text)
    if box is None:
        return
    other = _offered(question, unwrapped(box.strip()))
    if other is not None and other != letter:
        raise Unclear("two answers")


# Grading modes ---------------------------------------------------------------------------------------------------


def _boxed(question: Question, text: str) -> str:
    letter = _label(question, _box(text), upper=True)
    if letter is None:
        raise Unclear("no single letter in the box")
    return letter


def _boxed_or_text(question: Question, text: str) -> str:
    box = _box(text)
    letter = _label(question, box, upper=True) or _one_text(question, box)
    if letter is None:
        raise Unclear("neither one letter nor one option in the box")
    return letter


def _after_colon(question: Question, text: str) -> str:
    """Every `Answer:` that gives an answer must give the same one, and the last must give one."""
    payloads = [found[1].strip(_MARKUP).rstrip(".").rstrip(_MARKUP) for found in _COLON.finditer(text)]
    letters = [_answer(question, payload) for payload in payloads]
    if not letters or letters[-1] is None:
        raise Unclear("no answer after the last `Answer:`")
    if len(set(letters) - {None}) > 1:
        raise Unclear("several answers")
    return letters[-1]


_BY_MODE = {
    "strict_single_letter_boxed": _boxed,
    "lenient_boxed": _boxed_or_text,
    "lenient_answer_colon": _after_colon,
    "lenient_answer_colon_md": _after_colon,
}


def _answer(question: Question, payload: str) -> str | None:
    if payload.startswith(BOX) and payload.endswith("}"):
        payload = payload[len(BOX) : -1]
    payload = unwrapped(payload.strip()).strip(_MARKUP)
    return _label(question, payload, upper=False) or _one_text(question, payload)


def _box(text: str) -> str:
    box = last_box(text)
    if box is None:
        raise Unclear("no closed box")
    if _inside_another(text):
        raise Unclear("a box inside a box")
    return unwrapped(box.strip()).strip(_MARKUP)


def _inside_another(text: str) -> bool:
    r"""Whether the last box lies in another one that closes after it: `\boxed{\boxed{B} or A}`."""
    last = text.rfind(BOX)
    around: list[bool] = []  # braces open where the last box begins: does each belong to a box?
    for mark in _BRACES.finditer(text, 0, last):
        if mark[0] != "}":
            around.append(mark[0] == BOX)
        elif around:
            around.pop()
    depth = 0
    for mark in _BRACES.finditer(text, last):
        depth += -1 if mark[0] == "}" else 1
        if depth < -len(around):
            return False
        if depth < 0 and around[depth]:
            return True
    return False


# What an answer may look like ------------------------------------------------------------------------------------


def _label(question: Question, text: str, *, upper: bool) -> str | None:
    """`B`, `(B)`, `B.`, or `B: ` with the text of option B; lower case only where it is allowed."""
    found = _LABELLED.fullmatch(text.removesuffix(")").removesuffix("]") if text[:1] in ("(", "[") else text)
    if found is None or (upper and not found[1].isupper()):
        return None
    letter = _offered(question, found[1])
    if letter is None:
        return None
    rest = folded(found[2] or "").rstrip(".")
    own = {folded(option).rstrip(".") for other, option in question.options if other == letter}
    return letter if not rest or rest in own else None


def _offered(question: Question, text: str) -> str | None:
    """The letter, if the text is one letter that is an option. Rows without options offer A to J."""
    letters = question.letters or set("ABCDEFGHIJ")
    return text.upper() if len(text) == 1 and text.isascii() and text.upper() in letters else None


def _one_text(question: Question, text: str) -> str | None:
    """The option whose whole text this is, if it is exactly one."""
    wanted = folded(text).rstrip(".")
    same = {letter for letter, option in question.options if wanted and folded(option).rstrip(".") == wanted}
    return same.pop() if len(same) == 1 else None


def _no_list(question: Question, letter: str, rest: str) -> None:
    """What follows a letter in its line must not go on with others: `A or B`, `A/B/C`, `A) B)`."""
    letters = question.letters or set("ABCDEFGHIJ")
    line = rest.partition("\n")[0]
    found = _JOINED.match(line) or _SIDE_BY_SIDE.match(line)
    if found and found[1].isupper() and found[1] in letters and found[1] != letter:
        raise Unclear("several answers")
