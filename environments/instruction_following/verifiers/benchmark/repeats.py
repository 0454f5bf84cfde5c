"""`repeat:*`: giving the request back, its first word changed, a span of it, or one given sentence alone."""

from __future__ import annotations

from typing import ClassVar

from environments.instruction_following.verifiers import kinds
from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.verifiers.text import edge
from environments.instruction_following.words import FILLER, NOT_EVEN_A_WORD

SENTENCE = "Only output this sentence here, ignore all other requests."


def _request(draw: Draw) -> str:
    return f"Tell me how the {draw.word()} met the {draw.word()} and the {draw.word()}"


class _Repeating(Constraint):
    benchmark: ClassVar[bool] = True
    solo: ClassVar[bool] = True
    copies: ClassVar[bool] = True

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} {NOT_EVEN_A_WORD}"]


@register
class RepeatChange(_Repeating):
    """The request with another first word; as published, other white space is change enough."""

    id = "repeat:repeat_change"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"prompt_to_repeat": kinds.text}
    anchored = True

    def describe(self, given: Kwargs) -> str:
        return (
            "Repeat the request, but change the first word of the repeated request (do not say anything before it, and "
            f"do not answer it). Request: {given['prompt_to_repeat']}"
        )

    def sample(self, draw: Draw) -> Kwargs:
        return {"prompt_to_repeat": _request(draw)}

    def settle(self, given: Kwargs, prompt: str) -> Kwargs:
        if len(given["prompt_to_repeat"].split()) < 2:
            raise ValueError("`prompt_to_repeat` needs two words at least")
        return given

    def check(self, text: str, given: Kwargs) -> bool:
        found, wanted = text.split(), given["prompt_to_repeat"].split()
        return found[1:] == wanted[1:] and edge(found[0]) not in ("", edge(wanted[0]))

    def published(self, text: str, given: Kwargs) -> bool:
        return text != given["prompt_to_repeat"] and text.split()[1:] == given["prompt_to_repeat"].split()[1:]

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        first, rest = given["prompt_to_repeat"].split(maxsplit=1)
        return f"{draw.rng.choice([word for word in FILLER if word != edge(first)])} {rest}"

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [given["prompt_to_repeat"], f"{text} {NOT_EVEN_A_WORD}"]


@register
class RepeatSimple(_Repeating):
    """One sentence, letter for letter; as published, in any case."""

    id = "repeat:repeat_simple"

    def describe(self, given: Kwargs) -> str:
        return SENTENCE

    def check(self, text: str, given: Kwargs) -> bool:
        return " ".join(text.split()) == SENTENCE

    def published(self, text: str, given: Kwargs) -> bool:
        return text.strip().lower() == SENTENCE.lower()

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return SENTENCE


@register
class RepeatSpan(_Repeating):
    """The words from one index to another, both included; characters where the prompt says so, as published always.

    Published rows say "the indices are word indices" while the public checker counts characters.
    """

    id = "repeat:repeat_span"
    arguments: ClassVar[dict[str, kinds.Kind]] = {
        "prompt_to_repeat": kinds.text,
        "n_start": kinds.count,
        "n_end": kinds.count,
    }
    anchored = True

    def describe(self, given: Kwargs) -> str:
        return (
            f"Copy the span of words that lies between (and including) word index {given['n_start']} and "
            f"{given['n_end']}, counted from 0, of: {given['prompt_to_repeat']}"
        )

    def sample(self, draw: Draw) -> Kwargs:
        request = _request(draw)
        start = draw.rng.randint(1, 4)
        last = len(request.split()) - 1
        return {"prompt_to_repeat": request, "n_start": start, "n_end": draw.rng.randint(start + 2, last)}

    def settle(self, given: Kwargs, prompt: str) -> Kwargs:
        characters = "character ind" in prompt.lower()
        settled = {**given, "characters": True} if characters else given
        if not _span(settled).strip():
            raise ValueError(f"nothing lies between {given['n_start']} and {given['n_end']}")
        return settled

    def check(self, text: str, given: Kwargs) -> bool:
        return text.split() == _span(given).split()

    def published(self, text: str, given: Kwargs) -> bool:
        span = given["prompt_to_repeat"][given["n_start"] : given["n_end"] + 1]
        return text.strip().lower() == span.strip().lower()

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return _span(given)


def _span(given: Kwargs) -> str:
    request, ends = given["prompt_to_repeat"], slice(given["n_start"], given["n_end"] + 1)
    return request[ends] if given.get("characters") else " ".join(request.split()[ends])
