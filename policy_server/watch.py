"""Looking at one sample token by token, for the few that need it: stop strings, own stop ids, streaming."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from policy_server.requests import GenerateRequest


class TextStream(Protocol):
    """A decoder that gives out text once its characters are complete (`model.tokenizer.StreamDecoder`)."""

    def push(self, token: int) -> str: ...
    def flush(self) -> str: ...


class StopText:
    """Finds the first of the stop strings in text that arrives in pieces, and holds back what may become one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._keep = max((len(stop) for stop in self._stops), default=1) - 1
        self._held = ""

    def push(self, text: str) -> tuple[str, str | None]:
        """(text that is safe to show, the stop string it ended at or None)."""
        held = self._held + text
        found = [(at, stop) for stop in self._stops if (at := held.find(stop)) >= 0]
        if found:
            at, stop = min(found)
            self._held = ""
            return held[:at], stop
        split = max(0, len(held) - self._keep)
        self._held = held[split:]
        return held[:split], None

    def flush(self) -> str:
        """What was held back and turned out to be text."""
        held, self._held = self._held, ""
        return held


class Watch:
    """The stop conditions and the text of one sample."""

    def __init__(self, request: GenerateRequest, decoder: Callable[[], TextStream]) -> None:
        self._ids = frozenset(request.stop_token_ids)
        self._decoder = decoder() if request.stop or request.on_delta else None
        self._stop = StopText(request.stop)
        self.text = ""

    def push(self, token: int, last: bool) -> int | str | None:
        """Look at a token; returns what it stops at, if anything. `text` is what may be shown of it."""
        self.text = ""
        if self._decoder is not None:
            self.text, stop = self._stop.push(self._decoder.push(token))
            if stop is not None:
                return stop
            if last or token in self._ids:
                tail, stop = self._stop.push(self._decoder.flush())
                self.text += tail + self._stop.flush()
                if stop is not None:
                    return stop
        return token if token in self._ids else None


def needs_watch(request: GenerateRequest) -> bool:
    """Whether any of the request's options asks for a look at every token."""
    return bool(request.stop or request.stop_token_ids or request.on_delta)


def cut_at(text: str, stop_reason: int | str | None) -> str:
    """The text before the stop string it ended at."""
    if isinstance(stop_reason, str):
        head, found, _ = text.partition(stop_reason)
        return head if found else text
    return text
