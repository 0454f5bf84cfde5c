r"""Two gradings of one reply: strict (ours) and published (NeMo Gym `math_with_judge`), before any judge.

    strict:     last \boxed{…} ─▶ monstrous? ─▶ one answer? ─▶ exact values ─▶ Math-Verify ─▶ 1.0 | 0.0
    published:  all texts ─▶ math_metric(gold = \boxed{stripped gold}, LaTeX; prediction: expression, LaTeX)

Both run Math-Verify with its signal timeouts off, inside `deadline`. Source of the published rule: NVIDIA-NeMo/Gym
@ 07d6b0d0, `resources_servers/math_with_judge/app.py`; Math-Verify 0.8/0.9 `metric.py`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from environments.maths.boxed import closing, last_boxed
from environments.maths.deadline import Overrun, deadline
from environments.maths.exact import plain_number, tidy
from environments.maths.magnitude import MAX_DIGITS, digits, monstrous
from environments.maths.shape import candidate, wordy
from environments.maths.surds import exact_sum

STRICT_SECONDS = 3.0
PUBLISHED_SECONDS = 5.0
PRECISION = 6
"""Decimals to which Math-Verify compares floats."""

MAX_PUBLISHED_LENGTH = 200_000

_OPEN = ("words", "not mathematics", "not comparable", "not decided", "Math-Verify")
"""Reasons that are the library's word and not a rule of ours: a reader might still see that two answers are equal."""

_BOX = re.compile(r"\\boxed\s*\{")
_MATH = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+)\$|\\\[(.+?)\\\]|\\\((.+?)\\\)", re.DOTALL)
_ARITHMETIC = re.compile(r"[\d.\s+\-*×/÷^()]*\^[\d.\s+\-*×/÷^()]*")


def strip_delimiters(gold: str) -> str:
    r"""The gold answer without its outer `\(…\)`, then `$…$`, as the published verifier takes them off."""
    gold = gold.strip()
    if gold.startswith("\\(") and gold.endswith("\\)"):
        gold = gold[2:-2].strip()
    if gold.startswith("$") and gold.endswith("$") and len(gold) > 1:
        gold = gold[1:-1].strip()
    return gold


def grade_strict(gold: str, text: str, *, plain_only: bool = False) -> tuple[float, str]:
    """Reward of a reply's text, and the reason. `plain_only` wants a finished value where the gold is one."""
    if not text.strip():
        return 0.0, "empty"
    boxed = last_boxed(text)
    if boxed is None:
        return 0.0, "no closed box"
    gold, answer = tidy(gold), tidy(boxed)
    if not answer:
        return 0.0, "empty box"
    if monster := monstrous(answer):
        return (1.0, "the gold answer itself") if _same_text(gold, answer) else (0.0, monster)
    answer, refused = candidate(gold, answer, plain_only=plain_only)
    if refused:
        return 0.0, refused
    if _same_text(gold, answer):
        return 1.0, "same text"
    return _compare(gold, answer, plain_only)


def open_to_judge(reward: float, reason: str) -> bool:
    """Whether a strict grading ended with the library's no, so that a judge may look."""
    return reward == 0.0 and reason.startswith(_OPEN)


def _same_text(gold: str, answer: str) -> bool:
    return re.sub(r"\s+", "", gold) == re.sub(r"\s+", "", answer)


def _compare(gold: str, answer: str, plain_only: bool) -> tuple[float, str]:
    wanted, given = plain_number(gold), plain_number(answer)
    if wanted is not None and given is not None:
        return float(wanted == given), "exact numbers"
    if (gold_sum := exact_sum(gold)) is not None:
        answer_sum = exact_sum(answer)
        if answer_sum is not None:
            return float(gold_sum == answer_sum), "exact values"
        if plain_only:
            return 0.0, "not a finished value"
    if (word := wordy(gold)) is not None:
        return float(word == wordy(answer)), "words"
    try:
        with deadline(STRICT_SECONDS):
            return _symbolic(gold, answer, given is not None and "." in answer)
    except Overrun:
        return 0.0, f"not decided in {STRICT_SECONDS:g} s"
    except (ArithmeticError, AttributeError, MemoryError, RecursionError, TypeError, ValueError) as error:
        return 0.0, f"not comparable ({type(error).__name__})"


def _symbolic(gold: str, answer: str, decimal: bool) -> tuple[float, str]:
    """Math-Verify's word; but a decimal approximates nothing that is not a decimal itself."""
    from math_verify import verify

    wanted, given = parse_boxed(gold), parse_boxed(answer)
    if not given:
        return 0.0, "not mathematics"
    equal = verify(wanted, given, PRECISION, timeout_seconds=None)
    if equal and decimal and not any(getattr(value, "is_rational", False) for value in wanted):
        return 0.0, "an approximation"
    return float(equal), "Math-Verify"


@lru_cache(maxsize=512)
def parse_boxed(answer: str) -> list[Any]:
    r"""What Math-Verify reads in `\boxed{answer}`: an expression and its text, or nothing."""
    quiet()
    from math_verify import parse
    from math_verify.parser import LatexExtractionConfig

    return parse("\\boxed{" + answer + "}", (LatexExtractionConfig(),), parsing_timeout=None)


@lru_cache(maxsize=1)
def quiet() -> None:
    """Math-Verify warns on every call that its timeouts are off."""
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)


def grade_published(gold: str, text: str) -> tuple[float, str, str | None]:
    """The public verifier's reward, the reason, and the answer that it extracted.

    What would outlast its own timeouts is 0.0 without an answer, as it is there.
    """
    if len(text) > MAX_PUBLISHED_LENGTH:
        return 0.0, "outlasts the public verifier", None
    try:
        with deadline(PUBLISHED_SECONDS):
            if any(digits(part) > MAX_DIGITS for part in _evaluated(text)):
                return 0.0, "outlasts the public verifier", None
            reward, extracted = _metric("\\boxed{" + strip_delimiters(gold) + "}", text)
            return reward, "math_metric", extracted
    except Overrun:
        return 0.0, "outlasts the public verifier", None
    except (ArithmeticError, AttributeError, MemoryError, RecursionError, TypeError, ValueError) as error:
        return 0.0, f"the public verifier raises ({type(error).__name__})", None


def _metric(gold: str, text: str) -> tuple[float, str | None]:
    """`math_metric` without its alarms: also its printing of what was extracted, which may raise."""
    quiet()
    from math_verify import parse, verify
    from math_verify.parser import ExprExtractionConfig, LatexExtractionConfig

    given = parse(text, (ExprExtractionConfig(), LatexExtractionConfig()), parsing_timeout=None)
    wanted = parse(gold, (LatexExtractionConfig(),), parsing_timeout=None)
    if not wanted:
        return 0.0, None
    shown = [str(value) for value in (*given, *wanted)]
    return float(verify(wanted, given, PRECISION, timeout_seconds=None)), shown[0] if given else None


def _evaluated(text: str) -> Iterator[str]:
    """The parts of a reply that Math-Verify may evaluate: boxes where there are any, else all mathematics."""
    boxes = [found.end() for found in _BOX.finditer(text)]
    for start in reversed(boxes):
        yield text[start : closing(text, start)]
    if not boxes:
        yield from ("".join(groups) for groups in _MATH.findall(text))
        yield from _ARITHMETIC.findall(text)
