"""A protocol: what a judge is asked, how its words are read, and what two orders mean together. Data and a parser.

gate(candidate) ─▶ refused                                        no call
first order  ─▶ settled(first)? ─▶ first                          one call: the other order could change nothing
second order (two fields exchanged) ─▶ combine(first, unswap(second)), agreed = first == unswap(second)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gym_core.judge.gates import gate
from gym_core.judge.labels import escape
from gym_core.judge.parsing import Parser
from gym_core.judge.prompt import fill, names

T = TypeVar("T")
Messages = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol(Generic[T]):
    """One way of judging.

    `template` is the user's message with `{field}`s; `labels` are what a reply may be read for: they are escaped in
    every field and named in the reminder that follows a reply without any. `candidates` are the fields that the policy
    wrote: where one of them is no answer, the ruling is `refused` without a call. `swap` names two fields that change
    places in the second order; None for one order. `unparsed` is the ruling where no reply can be read; None makes that
    a `JudgeFault`. With `guarded` False nothing is gated or escaped, as public protocols do not. `foreign` is for a
    template that came with a row: it was written for `str.format`, and names that have no field stay as they are.
    """

    name: str
    template: str
    parse: Parser[T]
    refused: T
    system: str = ""
    labels: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    swap: tuple[str, str] | None = None
    settled: Callable[[T], bool] = lambda first: False
    unswap: Callable[[T], T] = lambda second: second
    combine: Callable[[T, T], T] | None = None
    unparsed: T | None = None
    guarded: bool = True
    foreign: bool = False
    max_chars: int = 200_000

    def gate(self, fields: Mapping[str, str]) -> str:
        """Why no call is needed, or ""."""
        if not self.guarded:
            return ""
        return next((why for name in self.candidates if (why := gate(fields[name], self.labels))), "")

    def messages(self, fields: Mapping[str, str]) -> Messages:
        """The request. Raises `ValueError` for a field that is missing or that the template has no place for."""
        wanted = names(self.template)
        if wanted != fields.keys() and not self.foreign:
            raise ValueError(f"protocol {self.name!r} has the fields {sorted(wanted)}, not {sorted(fields)}")
        put = {name: self._put(text) for name, text in fields.items()}
        user = {"role": "user", "content": fill(self.template, put, doubled=self.foreign)}
        return [{"role": "system", "content": self.system}, user] if self.system else [user]

    def swapped(self, fields: Mapping[str, str]) -> dict[str, str]:
        """The fields of the second order."""
        assert self.swap is not None
        one, other = self.swap
        return {**fields, one: fields[other], other: fields[one]}

    def reminder(self, messages: Messages, said: str) -> Messages:
        """The request again after a reply that could not be read."""
        labels = " or ".join(self.labels) or "the form that was asked for"
        again = f"Your reply could not be read. Answer again, and end with exactly one of: {labels}."
        return [*messages, {"role": "assistant", "content": said or "(nothing)"}, {"role": "user", "content": again}]

    def together(self, first: T, second: T) -> tuple[T, bool]:
        """The ruling of both orders, the second one already unswapped, and whether they agree."""
        agreed = first == second
        if self.combine is not None:
            return self.combine(first, second), agreed
        return (first if agreed else self.refused), agreed

    def _put(self, text: str) -> str:
        if len(text) > self.max_chars:
            half = self.max_chars // 2
            text = f"{text[:half]}\n[{len(text) - 2 * half} characters left out]\n{text[-half:]}"
        return escape(text, self.labels) if self.guarded else text
