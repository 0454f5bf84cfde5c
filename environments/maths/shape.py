r"""Is there exactly one answer in the box? Everything that hedges, restates the question or lists is refused here.

Math-Verify is generous: it takes `6=5` for 5, `5 6` for 11, `10 m` for `10 cm`, a set for a tuple and an unevaluated
integral for its value. This gate runs before it and says why an answer is not one.
"""

from __future__ import annotations

import re

from environments.maths.exact import plain_number

_TEXT = re.compile(r"\\(?:text|mathrm|textbf|textit|mbox|operatorname|mathbf)\s*\{([^{}]*)\}")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_HEDGES = frozenset(
    ("or", "and", "not", "either", "neither", "nor", "between", "about", "approximately", "maybe", "possibly", "any")
)
_SEPARATORS = re.compile(
    r"[,;]|\\(?:pm|mp|lor|vee|land|wedge|neq?|approx|sim|quad|qquad|to|cup|mid)(?![A-Za-z])|\\\\|\||≈|±|≠"
)
_UNFINISHED = re.compile(
    r"\\(?:int|iint|oint|sum|prod|lim|max|min|gcd|lcm|bmod|pmod|mod|det|sup|inf|operatorname)(?![A-Za-z])|\?|_{2,}"
    r"|\\[dt]?frac\s*\{\s*(?:d|\\mathrm\{d\}|\\partial)(?:\^\{?\d+\}?)?[^{}]*\}\s*\{\s*(?:d|\\mathrm\{d\}|\\partial)\s*[A-Za-z]"
    r"|(?<![A-Za-z])d\s*/\s*d[A-Za-z]"
)
_BARE_UNIT = re.compile(r"[\d}](?:\s|\\[,;:! ]|~)+([A-Za-z]{1,8}(?:\s*/\s*[A-Za-z]{1,4})?(?:\s*\^\s*\{?[23]\}?)?)\s*$")
_NAMES_OF_UNITS = """
    mm cm dm m km in inch ft foot feet yd yard mi mile mg g kg lb oz t ms s sec second min minute h hr hour day week
    month year ml cl dl l liter litre gal n j kj w kw v a k pa kpa hz mol deg degree rad dollar cent usd eur
"""
_UNITS = frozenset(_NAMES_OF_UNITS.split())
_LEFT_SIDE = re.compile(r"\|?(?:[A-Za-z]{1,3}|\\[a-z]+)(?:_\{?[A-Za-z0-9]+\}?)?'*(?:\([A-Za-z0-9, ]{1,10}\))?\|?")
_RELATION = re.compile(r"[<>]|\\(?:leq?|geq?|lt|gt|in)(?![A-Za-z])")
_SPACED_NUMBERS = re.compile(r"\d\s+\d|\d(?:\\[,;:! ]|~)+\d(?!\d{2}(?!\d))")
_EQUALS = re.compile(r"(?<![<>!:\\])=")
_OPERATORS = re.compile(r"(?<=[\w)}\]!])\s*[+\-]|\\(?:cdot|times|div|ast)(?![A-Za-z])|[*÷]")


def sides(text: str) -> list[str]:
    """Parts around the equals signs outside brackets."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "({[") - (character in ")}]")
        if character == "=" and depth == 0 and _EQUALS.match(text, position):
            parts.append(text[start:position].strip())
            start = position + 1
    return [*parts, text[start:].strip()]


def is_list(text: str) -> bool:
    """True where the text gives several values: a list, a set, a pair, an interval, `\\pm`, or several lines."""
    if plain_number(text) is not None:
        return False
    return bool(_SEPARATORS.search(_TEXT.sub(r" \1 ", text))) or bool(_HEDGES & words(text))


def words(text: str) -> set[str]:
    """Lower-case words of two letters or more, commands aside."""
    opened = _TEXT.sub(r" \1 ", text)
    return {word.lower() for word in _WORD.findall(opened)}


def unit(text: str) -> str:
    """The unit written in `\\text{…}`, or bare behind a number and a space; folded, empty where there is none."""
    if found := " ".join(_TEXT.findall(text)):
        return _singular(re.sub(r"[^a-z/%]", "", found.lower()))
    if bare := _BARE_UNIT.search(text):
        word = re.sub(r"[^a-z0-9/]", "", bare[1].lower())
        if _singular(re.split(r"[/0-9]", word)[0]) in _UNITS:
            return _singular(word)
    return ""


def _singular(word: str) -> str:
    return word.removesuffix("s") if len(word) > 2 else word


def brackets(text: str) -> str:
    r"""The outer brackets of a list of values: `(]`, `{}` (a set), or an empty string."""
    bare = text.strip().replace(r"\left", "").replace(r"\right", "").replace(r"\{", "⟨").replace(r"\}", "⟩")
    if len(bare) < 2 or bare[0] not in "([⟨" or bare[-1] not in ")]⟩" or "," not in bare:
        return ""
    return (bare[0] + bare[-1]).replace("⟨", "{").replace("⟩", "}")


def wordy(text: str) -> str | None:
    """The folded words where a text has nothing else (`\\text{east}`, `yes`), else None: its letters are no symbols."""
    opened = re.sub(r"\s+", " ", _TEXT.sub(r"\1", text)).strip()
    if re.fullmatch(r"[A-Za-z][A-Za-z' -]*[A-Za-z]", opened):
        return opened.lower()
    return None


def candidate(gold: str, answer: str, *, plain_only: bool) -> tuple[str, str]:
    """The part of the answer to compare, and why there is none. One of the two is empty. Both texts are tidy."""
    number = plain_number(gold)
    if not is_list(gold) and not _RELATION.search(gold):
        answer, refused = _one_side(gold, answer)
        if refused:
            return "", refused
        if is_list(answer):
            return "", "several answers"
    elif (wanted := brackets(gold)) and (given := brackets(answer)) and wanted != given:
        return "", "other brackets"
    if _SPACED_NUMBERS.search(answer) and not _SPACED_NUMBERS.search(gold):
        return "", "numbers side by side"
    if number is not None:
        if plain_only and plain_number(_without_units(answer)) is None:
            return "", "not a finished number"
        if _OPERATORS.search(_scientific(answer)):
            return "", "an unfinished calculation"
    if _UNFINISHED.search(answer) and not _UNFINISHED.search(gold):
        return "", "an unfinished calculation"
    if wordy(gold) is None and (wanted := unit(gold)) and (given := unit(answer)) and wanted != given:
        return "", "another unit"
    return answer, ""


def _one_side(gold: str, answer: str) -> tuple[str, str]:
    """`x = 5` says 5; `6 = 5` says nothing; an equation stays one where the gold is an equation."""
    parts, wanted = sides(answer), sides(gold)
    if len(parts) == 1 or len(parts) == len(wanted):
        return answer, ""
    if len(parts) == 2 and len(wanted) == 1 and _LEFT_SIDE.fullmatch(parts[0]) and parts[1]:
        return parts[1], ""
    return "", "more than one side"


def _without_units(answer: str) -> str:
    return re.sub(r"\\?[%$]|\^\{?\\circ\}?|°", "", _TEXT.sub("", answer)).strip()


def _scientific(answer: str) -> str:
    r"""`3 \times 10^5` is a finished number: its sign of multiplication does not count."""
    return re.sub(r"\\(?:times|cdot)\s*10\s*\^\s*(?:\{\s*-?\d+\s*\}|\d)", "", answer).lstrip("+-")
