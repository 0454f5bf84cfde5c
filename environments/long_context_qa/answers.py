"""Answers by kind, how they are written, and how a policy's words are read: right, wrong, or of another form.

    number   412000 · 412,000 · 412 000 · 412,000.00 · EUR 412,000 · 412 thousand euros
    date     2031-03-14 · 14 March 2031 · March 14, 2031 · 14 Mar. 2031
    name     upper and lower case, markup, a final full stop and the word `Project` aside
    set      names between commas, semicolons, lines or `and`, each once
    list     the same, in order

`OPEN` is said only where the right answer stands in the words and no other candidate does: a number alone among them,
a name without its rivals. That may be a matter of phrasing; everything else is decided here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import date
from fractions import Fraction
from typing import Any

from environments.long_context_qa.facts import MONTHS
from environments.long_context_qa.names import bare

RIGHT, WRONG, OPEN = "right", "wrong", "open"
OPEN_CHARS = 600
"""A longer answer is no matter of phrasing."""

UNITS = {
    "EUR": ("eur", "€", "euro", "euros"),
    "people": ("people", "person", "persons", "staff", "employees"),
    "kg": ("kg", "kilogram", "kilograms", "kilogramme", "kilogrammes"),
    "m²": ("m²", "m2", "m^2", "sqm", "sq m", "square metres", "square meters", "square metre", "square meter"),
    "units": ("units", "unit"),
    "MWh": ("mwh", "megawatt hours", "megawatt-hours"),
    "days": ("days", "day"),
    "pieces": ("pieces", "piece", "pcs"),
}
"""How the unit of a number may be written; it may also be left out."""

_SCALES = {"": 1, "k": 1000, "thousand": 1000, "m": 1_000_000, "mn": 1_000_000, "million": 1_000_000}
_DIGITS = r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?:[ \u00a0\u202f']\d{3})+|\d{1,18})(?:\.\d{1,6})?"
_NUMBER = re.compile(rf"({_DIGITS})(?:\s?(thousand|million|k|mn|m)(?![\w²^]))?", re.IGNORECASE)
_LOOSE = re.compile(r"[+-]?\d[\d.,' ]*")
_MONTH = {name[:3].lower(): number for number, name in enumerate(MONTHS, 1)}
_NAMES = "|".join(f"{name}|{name[:3]}" for name in MONTHS) + "|Sept"
_DATES = (
    (re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?!\d)"), "ymd"),
    (re.compile(rf"(\d{{1,2}})(?:st|nd|rd|th)?(?:\s+of)?\s+({_NAMES})\.?,?\s+(\d{{4}})", re.IGNORECASE), "dmy"),
    (re.compile(rf"({_NAMES})\.?\s+(\d{{1,2}})(?:st|nd|rd|th)?,?\s+(\d{{4}})", re.IGNORECASE), "mdy"),
)
_BETWEEN = re.compile(r"\s*(?:[;\n]|,(?!\d)|\band\b|&)\s*", re.IGNORECASE)
_BULLET = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.)])\s+")
_MARKUP = re.compile(r"[*_`\"“”„‘’]+")
_BOXED = re.compile(r"\$?\\boxed\{([^{}]*)\}\$?\.?")
_WRAPPED = re.compile(r"^\s*(?:\{(.*)\}|\[(.*)\]|\((.*)\))\s*$", re.DOTALL)


def number(value: int, unit: str = "") -> dict[str, Any]:
    return {"kind": "number", "value": value, "unit": unit}


def day(value: date) -> dict[str, Any]:
    return {"kind": "date", "value": value.isoformat()}


def name(value: str, rivals: Iterable[str] = ()) -> dict[str, Any]:
    return {"kind": "name", "value": value, "rivals": sorted(set(rivals) - {value})}


def several(values: Sequence[str], rivals: Iterable[str] = (), *, ordered: bool = False) -> dict[str, Any]:
    items = list(values) if ordered else sorted(values)
    return {"kind": "list" if ordered else "set", "items": items, "rivals": sorted(set(rivals) - set(values))}


def written(answer: dict[str, Any]) -> str:
    """The answer as the oracle says it."""
    if answer["kind"] == "number":
        return f"{answer['value']} {answer['unit']}".rstrip()
    return "; ".join(answer["items"]) if "items" in answer else str(answer["value"])


def judged(answer: dict[str, Any], said: str) -> tuple[str, str]:
    """`RIGHT`, `WRONG` or `OPEN`, and the reason. `said` is what stands after `Answer:`."""
    said = unicodedata.normalize("NFC", said).strip()
    if boxed := _BOXED.fullmatch(said):
        said = boxed[1].strip()
    if not said:
        return WRONG, "an empty answer"
    result, reason = _READERS[answer["kind"]](answer, said)
    if result == OPEN and len(said) > OPEN_CHARS:
        return WRONG, "too long for an answer"
    return result, reason


# Numbers and dates -----------------------------------------------------------------------------------------------


def _number(answer: dict[str, Any], said: str) -> tuple[str, str]:
    clean = _clean(said)
    wanted = Fraction(answer["value"])
    found = _number_alone(clean, answer["unit"])
    if found is not None:
        return (RIGHT, "exact number") if found == wanted else (WRONG, f"read {found}"[:60])
    inside = list(_NUMBER.finditer(clean))
    if len(inside) != 1 or len(_LOOSE.findall(clean)) != 1 or _value(inside[0]) != wanted:
        return WRONG, "not this number alone"
    if other := _other_unit(clean, answer["unit"]):
        return WRONG, f"another unit ({other})"
    return OPEN, "the number among words"


def _number_alone(text: str, unit: str) -> Fraction | None:
    """The number, if the text is a number, with or without its unit before or after it."""
    for form in ("", *sorted(UNITS.get(unit, ()), key=len, reverse=True)):
        folded = text.casefold()
        for rest in (folded.removesuffix(form) if form else folded, folded.removeprefix(form)):
            found = _NUMBER.fullmatch(rest.strip())
            if found and (not form or len(rest) < len(folded)):
                return _value(found)
    return None


def _value(found: re.Match[str]) -> Fraction:
    return Fraction(re.sub(r"[, \u00a0\u202f']", "", found[1])) * _SCALES[(found[2] or "").lower()]


def _other_unit(text: str, unit: str) -> str:
    words = set(re.findall(r"[^\W\d_]+[²2]?|€", text.casefold()))
    others = {form for other, forms in UNITS.items() if other != unit for form in forms}
    return next(iter(sorted((words & others) - set(UNITS.get(unit, ())))), "")


def _date(answer: dict[str, Any], said: str) -> tuple[str, str]:
    clean = _clean(said)
    wanted = date.fromisoformat(answer["value"])
    found = [(match, order) for pattern, order in _DATES for match in pattern.finditer(clean)]
    if len(found) != 1 or _day(*found[0]) != wanted:
        return WRONG, "not this date alone"
    match = found[0][0]
    around = clean[: match.start()] + clean[match.end() :]
    if re.search(r"\d", around):
        return WRONG, "a date and other numbers"
    return (OPEN, "the date among words") if around.strip() else (RIGHT, "exact date")


def _day(found: re.Match[str], order: str) -> date | None:
    parts = dict(zip(order, found.groups(), strict=True))
    month = _MONTH.get(parts["m"][:3].lower()) or (int(parts["m"]) if parts["m"].isdigit() else 0)
    try:
        return date(int(parts["y"]), month, int(parts["d"]))
    except ValueError:
        return None


# Names -----------------------------------------------------------------------------------------------------------


def folded(text: str) -> str:
    """Words with single spaces, lower case; markup, a final full stop and the word for a kind of thing are gone."""
    return bare(" ".join(_clean(text).split()).casefold())


def _clean(text: str) -> str:
    return _MARKUP.sub("", text).strip().rstrip(".").strip()


def _name(answer: dict[str, Any], said: str) -> tuple[str, str]:
    if folded(said) == folded(answer["value"]):
        return RIGHT, "exact name"
    return _among(said, [answer["value"]], answer["rivals"], ordered=False)


def _set(answer: dict[str, Any], said: str) -> tuple[str, str]:
    given = items(said)
    if len(set(given)) == len(given) and set(given) == {folded(item) for item in answer["items"]}:
        return RIGHT, "exact set"
    return _among(said, answer["items"], answer["rivals"], ordered=False)


def _list(answer: dict[str, Any], said: str) -> tuple[str, str]:
    if items(said) == [folded(item) for item in answer["items"]]:
        return RIGHT, "exact list"
    return _among(said, answer["items"], answer["rivals"], ordered=True)


def items(said: str) -> list[str]:
    """The folded items of a list."""
    if wrapped := _WRAPPED.match(_clean(said)):
        said = next(group for group in wrapped.groups() if group is not None)
    lines = (" ".join(line.split()) for line in said.splitlines())
    parts = (_BULLET.sub("", part) for line in lines for part in _BETWEEN.split(_BULLET.sub("", line)))
    return [found for part in parts if (found := folded(part))]


def _among(said: str, wanted: Sequence[str], rivals: Sequence[str], *, ordered: bool) -> tuple[str, str]:
    """`OPEN` where each wanted name stands once in the words, in order if that counts, and nothing that rivals it."""
    if len(said) > OPEN_CHARS:
        return WRONG, "not this answer alone"
    text = " ".join(_clean(said).split()).casefold()
    places = []
    for item in sorted(wanted, key=lambda item: -len(item)):
        found = list(_whole(bare(item.casefold())).finditer(text))
        if len(found) != 1:
            return WRONG, "not this answer"
        places.append((item, found[0].start()))
        text = text[: found[0].start()] + " " * (found[0].end() - found[0].start()) + text[found[0].end() :]
    spoken = [bare(rival.casefold()) for rival in rivals]
    whole = " ".join(_clean(said).split()).casefold()
    ours = {bare(item.casefold()) for item in wanted}
    if any(_whole(rival).search(whole if _longer(rival, ours) else text) for rival in spoken):
        return WRONG, "several answers"
    if any(character.isdigit() for character in text):
        return WRONG, "other numbers beside it"
    order = [item for item, _ in sorted(places, key=lambda place: place[1])]
    if ordered and order != list(wanted):
        return WRONG, "another order"
    return OPEN, "the answer among words"


def _whole(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(text)}(?!\w)")


def _longer(rival: str, ours: set[str]) -> bool:
    """Whether the rival's name holds a wanted one, which was blanked out of the text."""
    return any(item in rival for item in ours)


_READERS = {"number": _number, "date": _date, "name": _name, "set": _set, "list": _list}
