"""A theorem as the generator makes it: what is to be proved, a proof, and what its definitions compute.

The definitions are there twice: as Lean in the header, and as Python for `evaluate.py`, which looks for a
counterexample without Lean. So a family that states something false is found on any machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, frozen=True)
class Theorem:
    """`binders` and `claim` make the statement; `tactics` prove it, one after another; `functions` by name take and
    give plain numbers and lists."""

    name: str
    claim: str
    tactics: tuple[str, ...]
    binders: str = ""
    header: str = ""
    functions: dict[str, Callable[..., Any]] = field(default_factory=dict)

    @property
    def statement(self) -> str:
        return f"theorem {self.name} {self.binders + ' ' if self.binders else ''}: {self.claim}"

    @property
    def proof(self) -> str:
        """What follows `:=`."""
        return " by\n" + "\n".join(indented(tactic) for tactic in self.tactics)


def indented(tactic: str) -> str:
    """A tactic, perhaps of several lines, below `by`."""
    return "\n".join(f"  {line}" if line.strip() else line for line in tactic.splitlines())
