"""`format:*` of lists and sections: another bullet sign, bullets under bullets, bullets behind prose, italic theses."""

from __future__ import annotations

import re
from typing import ClassVar

from environments.instruction_following.verifiers import kinds
from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.verifiers.punkt import punkt_sentences
from environments.instruction_following.verifiers.text import bullets, has_word, sentences
from environments.instruction_following.words import FILLER, NOT_EVEN_A_WORD

_SIGNS = ("...", "SEPARATOR", "!?!?", "-")
_HEADING = re.compile(r"#{1,6}\s|<h[1-6]>|\*\*[^*]+\*\*\Z", re.IGNORECASE)
_THESIS = re.compile(r"<(i|em)>([^<]*)</\1>")


class _Lists(Constraint):
    benchmark: ClassVar[bool] = True
    solo: ClassVar[bool] = True


@register
class SpecialList(_Lists):
    """Two lines or more that begin with the sign, and no other bullets; as published, the sign twice, anywhere."""

    id = "format:list"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"sep": kinds.word}

    def describe(self, given: Kwargs) -> str:
        return f"Answer with a list of items, instead of bullet points use {given['sep']}"

    def sample(self, draw: Draw) -> Kwargs:
        return {"sep": draw.rng.choice(_SIGNS)}

    def check(self, text: str, given: Kwargs) -> bool:
        lines = [line.strip() for line in text.split("\n")]
        items = [line for line in lines if line.startswith(given["sep"])]
        others = [line for line in lines if bullets(line) and not line.startswith(given["sep"])]
        return len(items) > 1 and not others and all(has_word(item[len(given["sep"]) :]) for item in items)

    def published(self, text: str, given: Kwargs) -> bool:
        return text.count(given["sep"]) >= 2

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        items = [*keywords, *draw.rng.sample(FILLER, 3)]
        return "\n".join(f"{given['sep']} {item}" for item in items)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.replace(given["sep"], NOT_EVEN_A_WORD)]


@register
class Thesis(_Lists):
    """Each section begins with words in HTML italics, and goes on; as published, one such place anywhere.

    Sections begin at headings; without headings the reply is one.
    """

    id = "format:thesis"

    def describe(self, given: Kwargs) -> str:
        return "Each section must begin with a thesis statement in italics, use HTML to indicate the italics."

    def check(self, text: str, given: Kwargs) -> bool:
        sections: list[list[str]] = [[]]
        for line in text.split("\n"):
            if _HEADING.match(line.strip()):
                sections.append([])
            else:
                sections[-1].append(line)
        bodies = [body for body in ("\n".join(lines).strip() for lines in sections) if body]
        return bool(bodies) and all(map(_has_thesis, bodies))

    def published(self, text: str, given: Kwargs) -> bool:
        start = text.find("<i>") if "<i>" in text else text.find("<em>")
        if start < 0:
            return False
        rest = text[start:]
        end = rest.find("</i>") if "</i>" in rest else rest.find("</em>")
        return end >= 0 and rest[3:end].strip() != "" and rest[end + 4 :].strip() != ""

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        made = [
            f"## {draw.rng.choice(FILLER)}\n<i>{' '.join(draw.rng.sample(FILLER, 3))}.</i> {draw.rng.choice(FILLER)}."
        ]
        return "\n\n".join([*made, f"## last\n<i>{' '.join(['look', *keywords])}.</i> {draw.rng.choice(FILLER)}."])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.replace("<i>", "").replace("</i>", "")]


def _has_thesis(body: str) -> bool:
    thesis = _THESIS.match(body)
    return thesis is not None and has_word(thesis[2]) and has_word(_THESIS.sub("", body[thesis.end() :]))


@register
class SubBullets(_Lists):
    """Bullets `*`, and under each of them at least one `-`; as published, a dash somewhere behind every star."""

    id = "format:sub-bullets"

    def describe(self, given: Kwargs) -> str:
        return (
            "Your response must include bullet points denoted by * and at least one sub-bullet point denoted by - for "
            "each bullet point."
        )

    def check(self, text: str, given: Kwargs) -> bool:
        signs = "".join(line.strip()[0] for line in bullets(text) if line.strip()[0] in "*-")
        return signs.startswith("*") and "**" not in signs and signs.endswith("-")

    def published(self, text: str, given: Kwargs) -> bool:
        return all("-" in part for part in text.split("*")[1:])

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        items = [*keywords, *draw.rng.sample(FILLER, 2)]
        return "\n".join(f"* {item}\n  - {draw.rng.choice(FILLER)}" for item in items)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text}\n* {NOT_EVEN_A_WORD}"]


@register
class SomeBullets(_Lists):
    """Two sentences with full stops, then two bullets `*` or more, and nothing behind them."""

    id = "format:no_bullets_bullets"
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return (
            "Your answer must contain at least two sentences ending in a period followed by at least two bullet points "
            "denoted by *."
        )

    def check(self, text: str, given: Kwargs) -> bool:
        lines = [line for line in text.split("\n") if line.strip()]
        first = next((at for at, line in enumerate(lines) if _is_star(line)), len(lines))
        prose = sentences("\n".join(lines[:first]))
        return (
            sum(sentence.endswith(".") for sentence in prose) > 1
            and len(lines) - first > 1
            and all(map(_is_star, lines[first:]))
        )

    def published(self, text: str, given: Kwargs) -> bool:
        num_sentences, num_bullets, prose = 0, 0, True
        for line in text.split("\n"):
            if line.strip().startswith("*"):
                if num_sentences < 2:
                    return False
                num_bullets, prose = num_bullets + 1, False
            elif not prose:
                return False
            else:
                found = len(punkt_sentences(line.strip()))
                num_sentences, prose = num_sentences + found, found > 0  # a blank line ends the prose
        return num_bullets > 1

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        a, b, c, d = (" ".join(draw.rng.sample(FILLER, 3)) for _ in range(4))
        return f"{' '.join([a, *keywords])}. {b}.\n* {c}\n* {d}"

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text}\n{NOT_EVEN_A_WORD}", text.replace("\n* ", " ")]


def _is_star(line: str) -> bool:
    return bool(bullets(line)) and line.strip().startswith("*")
