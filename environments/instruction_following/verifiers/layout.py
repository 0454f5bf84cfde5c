"""The shape of the whole reply: bullets, sections, postscript, JSON, given options, two answers."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

from environments.instruction_following.verifiers import kinds
from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.verifiers.text import blocks, bullets, has_word, words
from environments.instruction_following.witness import Plan
from environments.instruction_following.words import FILLER, NOT_EVEN_A_WORD

OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_PUBLISHED_PS = re.compile(r"p\.\s?s\.")
_PUBLISHED_PPS = re.compile(r"p\.\s?p\.\s?s")
_SIX_STARS = re.compile(r"(?<!\*)\*{6}(?!\*)")


@register
class Bullets(Constraint):
    """Exactly so many list items; as published, every line that starts with a dash is one, `---` included."""

    id = "detectable_format:number_bullet_lists"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"num_bullets": kinds.count}

    def describe(self, given: Kwargs) -> str:
        return (
            f"Your answer must contain exactly {given['num_bullets']} bullet points. Use markdown bullets such as:\n"
            "* This is a point."
        )

    def sample(self, draw: Draw) -> Kwargs:
        return {"num_bullets": draw.count(1, 6)}

    def check(self, text: str, given: Kwargs) -> bool:
        return len(bullets(text)) == given["num_bullets"]

    def published(self, text: str, given: Kwargs) -> bool:
        return _published_bullets(text.split("\n")) == given["num_bullets"]

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.num_bullets = given["num_bullets"]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.replace("\n* ", "\n", 1), f"{text}\n* {NOT_EVEN_A_WORD}"]


def _published_bullets(lines: list[str]) -> int:
    """Lines that begin with a dash, or with a star that another does not follow; a lone star swallows the next line."""
    dashes = sum(line.lstrip().startswith("-") for line in lines)
    stars, at = 0, 0
    while at < len(lines):
        line = lines[at].lstrip()
        if line == "*" and at + 1 < len(lines):
            stars, at = stars + 1, at + 1
        elif line.startswith("*") and len(line) > 1 and line[1] != "*":
            stars += 1
        at += 1
    return dashes + stars


@register
class Sections(Constraint):
    """Exactly so many sections, headed `Section 1`, `Section 2`, … in order, each with something in it."""

    id = "detectable_format:multiple_sections"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"section_spliter": kinds.word, "num_sections": kinds.positive}

    def describe(self, given: Kwargs) -> str:
        name = given["section_spliter"]
        return (
            f"Your response must have {given['num_sections']} sections. Mark the beginning of each section with "
            f"{name} X, such as:\n{name} 1\n[content of section 1]"
        )

    def sample(self, draw: Draw) -> Kwargs:
        return {"section_spliter": draw.rng.choice(("Section", "SECTION")), "num_sections": draw.count(2, 5)}

    def check(self, text: str, given: Kwargs) -> bool:
        numbers, bodies = [], []
        for line in text.split("\n"):
            header = line.strip().strip("#*_ ")
            name, number = header[: len(given["section_spliter"])], header[len(given["section_spliter"]) :].lstrip()
            digits = number[: len(number) - len(number.lstrip("0123456789"))]
            if name == given["section_spliter"] and digits and len(digits) < 5:
                numbers.append(int(digits))
                bodies.append(number[len(digits) :])
            elif bodies:
                bodies[-1] += "\n" + line if len(bodies[-1]) < 80 else ""
        return numbers == list(range(1, given["num_sections"] + 1)) and all(map(has_word, bodies))

    def published(self, text: str, given: Kwargs) -> bool:
        name, count, at = given["section_spliter"], 0, text.find(given["section_spliter"])
        while at >= 0:
            end = at + len(name)
            if text[end : end + 1].isspace():
                end += 1
            numbered = text[end : end + 1].isdecimal()
            count += numbered
            at = text.find(name, end if numbered else at + 1)
        return count >= given["num_sections"]

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.section, plan.num_paragraphs = given["section_spliter"], given["num_sections"]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.replace(given["section_spliter"], NOT_EVEN_A_WORD, 1)]


@register
class Postscript(Constraint):
    """The last paragraph has a line that starts with the marker and goes on; as published, the marker anywhere."""

    id = "detectable_content:postscript"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"postscript_marker": kinds.word}

    def describe(self, given: Kwargs) -> str:
        return f"At the end of your response, add a postscript starting with {given['postscript_marker']}"

    def sample(self, draw: Draw) -> Kwargs:
        return {"postscript_marker": draw.rng.choice(("P.S.", "P.P.S"))}

    def check(self, text: str, given: Kwargs) -> bool:
        last = blocks(text)[-1:]
        marker = given["postscript_marker"].casefold()
        lines = [line.strip().strip("*_\"'> ").casefold() for line in "".join(last).split("\n")]
        if not any(line.startswith(marker) and has_word(line[len(marker) :]) for line in lines):
            return False
        return len(blocks(text)) > 1 or not lines[0].startswith(marker)

    def published(self, text: str, given: Kwargs) -> bool:
        marker, lowered = given["postscript_marker"], text.lower()
        if marker == "P.P.S":
            return _PUBLISHED_PPS.search(lowered) is not None
        if marker == "P.S.":
            return _PUBLISHED_PS.search(lowered) is not None
        return marker.lower() in lowered

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.postscript = given["postscript_marker"]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.replace("\n" + given["postscript_marker"], f" {NOT_EVEN_A_WORD}")]


@register
class JsonFormat(Constraint):
    """The whole reply one JSON object or array, perhaps fenced; as published, any JSON value, `3` included."""

    id = "detectable_format:json_format"
    solo = True

    def describe(self, given: Kwargs) -> str:
        return "The entire output should be wrapped in JSON format. You can use markdown ticks such as ```."

    def check(self, text: str, given: Kwargs) -> bool:
        return isinstance(_json(_unfenced(text), _refuse_constant), (dict, list))

    def published(self, text: str, given: Kwargs) -> bool:
        return _json(_unfenced(text), None) is not _NOTHING

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return json.dumps({word: draw.rng.choice(FILLER) for word in [*keywords, draw.rng.choice(FILLER)]})

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.rstrip()[:-1], f"{NOT_EVEN_A_WORD} {text}"]


_NOTHING = object()


def _unfenced(text: str) -> str:
    body = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        body = body.removeprefix(fence)
    return body.removesuffix("```").strip()


def _json(text: str, constants: Any) -> Any:
    try:
        return json.loads(text, parse_constant=constants)
    except (ValueError, RecursionError):
        return _NOTHING


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


@register
class ConstrainedResponse(Constraint):
    """One of the three options and nothing else; as published, anything around it goes."""

    id = "detectable_format:constrained_response"
    solo = True

    def describe(self, given: Kwargs) -> str:
        return f"Answer with one of the following options: {', '.join(OPTIONS)}"

    def check(self, text: str, given: Kwargs) -> bool:
        return text.strip().strip("\"'*") in OPTIONS

    def published(self, text: str, given: Kwargs) -> bool:
        return any(option in text for option in OPTIONS)

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return draw.rng.choice(OPTIONS)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{NOT_EVEN_A_WORD} {text}", NOT_EVEN_A_WORD]


@register
class TwoResponses(Constraint):
    """Two answers of at least two words, different in words, six stars between; as published, `a******b` will do."""

    id = "combination:two_responses"
    solo = True

    def describe(self, given: Kwargs) -> str:
        return (
            "Give two different responses. Responses and only responses should be separated by 6 asterisk symbols: "
            "******."
        )

    def check(self, text: str, given: Kwargs) -> bool:
        parts = [[word.casefold() for word in words(part)] for part in _SIX_STARS.split(text)]
        return len(parts) == 2 and min(map(len, parts)) >= 2 and parts[0] != parts[1]

    def published(self, text: str, given: Kwargs) -> bool:
        parts = [part.strip() for part in text.split("******")]
        filled = [part for part in parts if part]
        return all(parts[1:-1]) and len(filled) == 2 and filled[0] != filled[1]

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        one, two = draw.rng.sample(FILLER, 3), draw.rng.sample(FILLER, 3)
        return " ".join([*one, *keywords]) + ".\n******\n" + " ".join([*two, *keywords]) + "."

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.replace("******", "***", 1), text.partition("\n******\n")[0]]
