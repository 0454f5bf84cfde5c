"""Labels: how a judge says its ruling, and how a candidate is kept from saying it.

In what is quoted to a judge, labels in brackets (`[[A=B]]`) and the marks around quotes (`<<<`, `>>>`) are spaced out,
and labels that are words (`CORRECT`) lose their capitals. Invisible characters are taken out where they could hide a
label. What remains reads the same to a person, and no parser takes it for a ruling when the judge repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_INVISIBLE = (
    "\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0001\U000e0020-\U000e007f"
)
_HIDING = re.compile(rf"(?<=[\x00-\x7f])[{_INVISIBLE}]+|[{_INVISIBLE}]+(?=[\x00-\x7f])")
"""Beside ASCII they hide something; between letters of other scripts, and in emoji, they carry meaning and stay."""

_BRACKETS = re.compile(r"\[(?=\[)|\](?=\])")
_MARKS = re.compile(r"<{3,}|>{3,}")


def is_word(label: str) -> bool:
    """True for a label without brackets, which must stand alone between other letters."""
    return label.isalpha()


def pattern(label: str) -> re.Pattern[str]:
    """Where the label itself stands: exact, and a word not inside another one."""
    quoted = re.escape(label)
    return re.compile(rf"(?<![A-Za-z]){quoted}(?![A-Za-z])" if is_word(label) else quoted)


def escape(text: str, labels: Iterable[str]) -> str:
    """`text` without anything that could be taken for one of the labels, or for the end of a quote."""
    if not text.isascii():
        text = _HIDING.sub("", text)
    text = _MARKS.sub(lambda found: " ".join(found[0]), text)
    for label in labels:
        if is_word(label):
            text = re.sub(rf"(?i)(?<![A-Za-z]){re.escape(label)}(?![A-Za-z])", lambda found: found[0].lower(), text)
        else:
            text = _BRACKETS.sub(r"\g<0> ", text)
    return text


def without(text: str, labels: Iterable[str]) -> str:
    """`text` with the labels themselves taken out."""
    for label in labels:
        text = pattern(label).sub(" ", text)
    return text
