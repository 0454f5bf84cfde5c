"""`copy:*`, `new:copy_span_idx` and `combination:repeat_prompt`: giving back what was given, changed as told.

As published, letter case does not matter; strictly it does, and white space does not.
"""

from __future__ import annotations

from typing import ClassVar

from environments.instruction_following.verifiers import kinds
from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.verifiers.text import has_word, words
from environments.instruction_following.words import FILLER, NOT_EVEN_A_WORD, POOL


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _folded(text: str) -> str:
    return text.strip().lower()


def _phrase(draw: Draw) -> str:
    return f"Tell me how the {draw.word()} met the {draw.word()}"


class _Copying(Constraint):
    """The reply is the request, nothing before and nothing behind."""

    arguments: ClassVar[dict[str, kinds.Kind]] = {"prompt_to_repeat": kinds.text}
    anchored = True
    solo = True

    def describe(self, given: Kwargs) -> str:
        return (
            f"Copy this request word for word and do not answer it (without this sentence): {given['prompt_to_repeat']}"
        )

    def sample(self, draw: Draw) -> Kwargs:
        return {"prompt_to_repeat": _phrase(draw)}

    def check(self, text: str, given: Kwargs) -> bool:
        return _spaced(text) == _spaced(given["prompt_to_repeat"])

    def published(self, text: str, given: Kwargs) -> bool:
        return _folded(text) == _folded(given["prompt_to_repeat"])

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return given["prompt_to_repeat"]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} {NOT_EVEN_A_WORD}"]


@register
class Copy(_Copying):
    id = "copy:copy"


@register
class CopyingSimple(_Copying):
    id = "copy:copying_simple"


@register
class CopyingMultiple(Constraint):
    """The request N times, six stars between."""

    id = "copy:copying_multiple"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"prompt_to_repeat": kinds.text, "N": kinds.positive}
    anchored = True
    solo = True

    def describe(self, given: Kwargs) -> str:
        return (
            f"Repeat this request without change {given['N']} times, separated by 6 asterisk symbols (******), and do "
            f"not answer it: {given['prompt_to_repeat']}"
        )

    def sample(self, draw: Draw) -> Kwargs:
        return {"prompt_to_repeat": _phrase(draw), "N": draw.count(2, 5)}

    def check(self, text: str, given: Kwargs) -> bool:
        wanted = _spaced(given["prompt_to_repeat"])
        parts = text.split("******")
        return len(parts) == given["N"] and all(_spaced(part) == wanted for part in parts)

    def published(self, text: str, given: Kwargs) -> bool:
        wanted = _folded(given["prompt_to_repeat"])
        parts = text.split("******")
        return len(parts) == given["N"] and all(_folded(part) == wanted for part in parts)

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return "\n******\n".join([given["prompt_to_repeat"]] * given["N"])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} {NOT_EVEN_A_WORD}"]


@register
class CopySpan(Constraint):
    """The characters from n_start to n_end, the last one included as the prompt says; as published, without it."""

    id = "new:copy_span_idx"
    arguments: ClassVar[dict[str, kinds.Kind]] = {
        "prompt_to_repeat": kinds.text,
        "n_start": kinds.count,
        "n_end": kinds.count,
    }
    anchored = True
    solo = True

    def describe(self, given: Kwargs) -> str:
        return (
            f"Copy the span that lies between (and including) character index {given['n_start']} and {given['n_end']} "
            f"of: {given['prompt_to_repeat']}"
        )

    def sample(self, draw: Draw) -> Kwargs:
        text = _phrase(draw)
        start = text.index("how")
        return {"prompt_to_repeat": text, "n_start": start, "n_end": len(text) - 1 - draw.rng.randint(0, 3)}

    def check(self, text: str, given: Kwargs) -> bool:
        return _spaced(text) == _spaced(given["prompt_to_repeat"][given["n_start"] : given["n_end"] + 1])

    def published(self, text: str, given: Kwargs) -> bool:
        return _folded(text) == _folded(given["prompt_to_repeat"][given["n_start"] : given["n_end"]])

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return given["prompt_to_repeat"][given["n_start"] : given["n_end"] + 1]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} {NOT_EVEN_A_WORD}"]


@register
class RepeatPrompt(Constraint):
    """First the request, then an answer; as published, the request alone is enough."""

    id = "combination:repeat_prompt"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"prompt_to_repeat": kinds.text}
    anchored = True
    solo = True

    def describe(self, given: Kwargs) -> str:
        return f"First repeat this request word for word, then give your answer: {given['prompt_to_repeat']}"

    def sample(self, draw: Draw) -> Kwargs:
        return {"prompt_to_repeat": _phrase(draw)}

    def check(self, text: str, given: Kwargs) -> bool:
        body, wanted = _spaced(text), _spaced(given["prompt_to_repeat"])
        return body.startswith(wanted) and has_word(body[len(wanted) :])

    def published(self, text: str, given: Kwargs) -> bool:
        return _folded(text).startswith(_folded(given["prompt_to_repeat"]))

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return " ".join([given["prompt_to_repeat"] + ".", *keywords, *draw.rng.sample(FILLER, 3)])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{NOT_EVEN_A_WORD} {text}"]


@register
class RepeatPhrase(Constraint):
    """The phrase so many times, each time with exactly one inner word replaced."""

    id = "copy:repeat_phrase"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"phrase": kinds.word, "small_n": kinds.positive}
    anchored = True
    solo = True

    def describe(self, given: Kwargs) -> str:
        return (
            f"Repeat the phrase {given['phrase']} exactly {given['small_n']} times, transforming it slightly each time "
            "by replacing only one word in the center of the phrase."
        )

    def sample(self, draw: Draw) -> Kwargs:
        return {"phrase": f"{draw.word()} and {draw.word()} like the {draw.word()}", "small_n": draw.count(2, 4)}

    def check(self, text: str, given: Kwargs) -> bool:
        wanted = [word.casefold() for word in words(given["phrase"])]
        found = [word.casefold() for word in words(text)]
        size = len(wanted)
        if size < 3:
            return False
        count, at = 0, 0
        while at + size <= len(found):
            if found[at] == wanted[0] and found[at + size - 1] == wanted[-1]:
                changed = sum(a != b for a, b in zip(found[at : at + size], wanted, strict=True))
                if changed != 1:
                    return False
                count, at = count + 1, at + size
            else:
                at += 1
        return count == given["small_n"]

    def published(self, text: str, given: Kwargs) -> bool:
        wanted = given["phrase"].split()
        found = [part.split() for line in text.split("\n") for part in _spans(line, wanted[0], wanted[-1])]
        changes = [sum(a != b for a, b in zip(part, wanted, strict=False)) for part in found]
        if len(found) != given["small_n"] or any(len(part) > len(wanted) for part in found):
            return False
        return bool(changes) and max(changes) <= 1 and changes[-1] == 1

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        wanted = given["phrase"].split()
        if len(wanted) < 3:
            return given["phrase"]
        made = []
        for number in range(given["small_n"]):
            changed = list(wanted)
            changed[len(wanted) // 2] = [word for word in FILLER if word not in POOL][number]
            made.append(" ".join(changed))
        return "\n".join(made)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text}\n{given['phrase']}", text.partition("\n")[0]]


def _spans(line: str, first: str, last: str) -> list[str]:
    """Shortest spans `first … last` from left to right, none within another."""
    found, start = [], line.find(f"{first} ")
    while start >= 0:
        end = line.find(f" {last}", start + len(first) + 1)
        if end < 0:
            break
        found.append(line[start : end + 1 + len(last)])
        start = line.find(f"{first} ", end + 1 + len(last))
    return found
