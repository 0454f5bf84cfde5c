"""What is no answer whatever a judge says: decided here, without a call.

Judges pass empty openings such as "Thought process:" or a lone ":" at rates that a policy finds within hours
("One Token to Fool LLM-as-a-Judge", arXiv 2507.08794).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from gym_core.judge.labels import without

OPENINGS = frozenset(
    line.strip()
    for line in """
    thought process
    let s solve this problem step by step
    lets solve this problem step by step
    let s think step by step
    lets think step by step
    let us think step by step
    step by step
    solution
    the solution
    answer
    final answer
    the answer
    the answer is
    the final answer is
    so the answer is
    therefore the answer is
    explanation
    reasoning
    thinking
    analysis
    proof
    response
    here is the solution
    here is my answer
    sure
    certainly
    解
    解答
    答案
    かいせつ
    解説
    respuesta
    solución
    réponse
    lösung
    antwort
    ответ
    решение
    """.strip().splitlines()
)
"""Openings without an answer behind them, as `_words` folds them."""

NO_ANSWER = frozenset(("i don t know", "i dont know", "i do not know", "no answer", "n a", "idk", "no idea"))


LONG = 2000
"""Characters after which a text is more than an opening."""


def gate(text: str, labels: Iterable[str] = ()) -> str:
    """Why this text answers nothing (`empty`, `punctuation`, `opening`, `no answer`, `label`), or ""."""
    if not text.strip():
        return "empty"
    words = _words(text[:LONG]) or _words(text)
    if not words:
        return "punctuation"
    rest = without(text, labels)
    if not (_words(rest[:LONG]) or _words(rest)):
        return "label"
    if len(text) > LONG:
        return ""
    if words in OPENINGS:
        return "opening"
    return "no answer" if words in NO_ANSWER else ""


def _words(text: str) -> str:
    """Lower-case words with single spaces; punctuation, separators and invisible characters are gaps."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    marks = "".join(" " if unicodedata.category(mark)[0] in "PZC" or mark in "^`´¨¯" else mark for mark in folded)
    return " ".join(marks.split())
