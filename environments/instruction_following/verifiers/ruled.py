"""Sentences as the public training checkers cut them: by substitutions, no model.

    every full stop that ends nothing becomes KEPT ─▶ `. ? !` are followed by STOP ─▶ cut at STOP

Exact, so verdicts built on this are: titles, web addresses, decimals, initials, acronyms and company suffixes are kept;
a run of dots ends a sentence; a closing double quote moves before the mark behind it. Empty pieces inside are told.
"""

from __future__ import annotations

import re

_KEPT, _STOP = "\ue000", "\ue001"
_TITLED = "Mr|Mrs|Ms|Dr|Prof|Capt|Cpt|Lt"
_STARTERS = rf"(?:{_TITLED}|(?:He|She|It|They|Their|Our|We|But|However|That|This)\s|Wherever)"
_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(Mr|St|Mrs|Ms|Dr)\.", rf"\1{_KEPT}"),
        (r"\.(com|net|org|io|gov|edu|me)", rf"{_KEPT}\1"),
        (r"([0-9])\.([0-9])", rf"\1{_KEPT}\2"),
    )
)
_DOTS = re.compile(r"\.{2,}")
_LATER_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\s([A-Za-z])\. ", rf" \1{_KEPT} "),
        (rf"([A-Z]\.[A-Z]\.(?:[A-Z]\.)?) ({_STARTERS})", rf"\1{_STOP} \2"),
        (r"([A-Za-z])\.([A-Za-z])\.([A-Za-z])\.", rf"\1{_KEPT}\2{_KEPT}\3{_KEPT}"),
        (r"([A-Za-z])\.([A-Za-z])\.", rf"\1{_KEPT}\2{_KEPT}"),
        (rf" (Inc|Ltd|Jr|Sr|Co)\. ({_STARTERS})", rf" \1{_STOP} \2"),
        (r" (Inc|Ltd|Jr|Sr|Co)\.", rf" \1{_KEPT}"),
        (r" ([A-Za-z])\.", rf" \1{_KEPT}"),
    )
)


def ruled_sentences(text: str) -> list[str]:
    text = f" {text}  ".replace("\n", " ")
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = _DOTS.sub(lambda dots: _KEPT * len(dots[0]) + _STOP, text)
    text = text.replace("Ph.D.", f"Ph{_KEPT}D{_KEPT}")
    for pattern, replacement in _LATER_RULES:
        text = pattern.sub(replacement, text)
    text = text.replace(".”", "”.").replace('."', '".').replace('!"', '"!').replace('?"', '"?')
    for mark in ".?!":
        text = text.replace(mark, mark + _STOP)
    found = [piece.strip() for piece in text.replace(_KEPT, ".").split(_STOP)]
    return found if found[-1] else found[:-1]
