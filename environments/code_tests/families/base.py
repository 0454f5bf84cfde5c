"""What a family of programming problems is: a statement, inputs of every size, a solution, a slow one, wrong ones.

The solution is an ordinary function from the whole input to the whole output. The expected outputs come from calling it
here; the oracle's program is its own source text, so that what is graded is what was checked.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Params = dict[str, Any]
Solve = Callable[..., str]

SIZES = {1: 8, 2: 50, 3: 500, 4: 20_000, 5: 20_000}
"""Largest size of an input by level. At 20,000 a program of quadratic time is stopped by the limit."""

SMALL = 12
KINDS = ("tiny", "edge", "random", "large")


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of problem.

    `draw(rng, level)` gives the parameters of a task, `tell(params)` its statement, `case(rng, params, kind)` an input
    (`kind` is one of `KINDS`), `solve(text, **constants)` the output. `brute` is another route to the same output, for
    small inputs. `slips` are pairs (right, wrong) in the text of `solve`: each makes a program that some test refuses.
    `check(input, output, reference)` decides where several outputs are right. `short(params)` is a program as a person
    would write it, in a line or two; a family that has one is told in a line too, without example and limits.
    """

    name: str
    levels: tuple[int, ...]
    draw: Callable[[random.Random, int], Params]
    tell: Callable[[Params], str]
    case: Callable[[random.Random, Params, str], str]
    solve: Solve
    brute: Solve
    slips: tuple[tuple[str, str], ...]
    constants: tuple[str, ...] = ()
    check: Callable[[str, str, str], bool] | None = None
    slow_brute: bool = True
    short: Callable[[Params], str] | None = None

    def answer(self, text: str, params: Params, solve: Solve | None = None) -> str:
        """The output for this input."""
        return (solve or self.solve)(text, **{name: params[name] for name in self.constants})

    def program(self, params: Params, solve: Solve | None = None, slip: tuple[str, str] | None = None) -> str:
        """A whole Python program that does what `solve` (or another function) does, perhaps with a slip in it."""
        function = solve or self.solve
        source = inspect.getsource(function)
        if slip is not None:
            assert source.count(slip[0]) == 1, f"{self.name}: {slip[0]!r} must stand once in the solution"
            source = source.replace(*slip)
        given = "".join(f", {name}={params[name]!r}" for name in self.constants)
        return f"import sys\n\n\n{source}\n\nprint({function.__name__}(sys.stdin.read(){given}))\n"


def size(rng: random.Random, kind: str, largest: int, least: int = 1) -> int:
    """How long an input of this kind is."""
    small = min(SMALL, largest)
    if kind == "tiny":
        return rng.randint(max(least, min(3, small)), max(least, min(5, small)))
    if kind == "edge":
        return least
    if kind == "random":
        return rng.randint(least, max(least, small))
    return max(least, largest)


def numbers(rng: random.Random, count: int, low: int, high: int) -> list[int]:
    return [rng.randint(low, high) for _ in range(count)]


def line(*values: Any) -> str:
    return " ".join(map(str, values))
