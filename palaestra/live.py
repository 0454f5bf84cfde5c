"""What a person sees while a run goes on: phases, a bar, the reward of each environment, cost and mismatch.

On a terminal the view redraws itself; into a pipe it prints a line per phase and per tenth of the work.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from palaestra.meter import Meter

_BLOCKS = "▁▂▃▄▅▆▇█"
_WINDOW = 5
_BAR = 24


class View(Protocol):
    """What a run tells its spectators."""

    def __enter__(self) -> View: ...
    def __exit__(self, *_: object) -> None: ...
    def phase(self, name: str, total: int | None = None) -> None: ...
    def advance(self, step: int, values: Mapping[str, float]) -> None: ...
    def before(self, rewards: Mapping[str, float]) -> None: ...


def view_for(meter: Meter, title: str, console: Console | None = None) -> View:
    """The live view on a terminal, the plain one elsewhere."""
    console = console or Console()
    return LiveView(meter, title, console) if console.is_terminal else PlainView(meter, title)


class PlainView:
    """Lines, for logs."""

    def __init__(self, meter: Meter, title: str) -> None:
        self._meter, self._title = meter, title
        self._total: int | None = None
        self._name = ""

    def __enter__(self) -> PlainView:
        self._say(self._title)
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def phase(self, name: str, total: int | None = None) -> None:
        self._name, self._total = name, total
        self._say(name)

    def advance(self, step: int, values: Mapping[str, float]) -> None:
        if self._total and step % max(1, self._total // 10) and step != self._total:
            return
        shown = " ".join(f"{key}={values[key]:.4g}" for key in _shown(values))
        self._say(f"{self._name} {step}/{self._total or '?'} {shown}")

    def before(self, rewards: Mapping[str, float]) -> None:
        self._say("held-out reward before: " + " ".join(f"{name}={value:.3f}" for name, value in rewards.items()))

    def _say(self, text: str) -> None:
        print(f"[{self._meter.seconds:6.1f} s] {text}", file=sys.stderr, flush=True)


def _shown(values: Mapping[str, float]) -> list[str]:
    fixed = [
        key for key in ("sft/loss", "reward", "val/reward", "token_mult_prob_error", "total_step_time") if key in values
    ]
    return fixed + sorted(key for key in values if key.startswith("reward/"))


class LiveView:
    """A panel that redraws itself."""

    def __init__(self, meter: Meter, title: str, console: Console) -> None:
        self._meter, self._title = meter, title
        self._progress = Progress(
            TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        )
        self._task: Any = None
        self._before: dict[str, float] = {}
        self._rewards: dict[str, deque[float]] = {}
        self._means: list[float] = []
        self._values: Mapping[str, float] = {}
        self._drawn = 0.0
        self._cpu = 0.0
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._draw)

    def __enter__(self) -> LiveView:
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._live.__exit__(*error)

    def phase(self, name: str, total: int | None = None) -> None:
        if self._task is not None:
            task = self._progress.tasks[-1]
            self._progress.update(self._task, total=task.total or 1, completed=task.total or 1)
            self._progress.stop_task(self._task)
        self._task = self._progress.add_task(name, total=total)

    def advance(self, step: int, values: Mapping[str, float]) -> None:
        self._progress.update(self._task, completed=step)
        self._values = values
        for key, value in values.items():
            if key.startswith("reward/"):
                self._rewards.setdefault(key.removeprefix("reward/"), deque(maxlen=_WINDOW)).append(value)
        if "reward" in values:
            self._means.append(values["reward"])

    def before(self, rewards: Mapping[str, float]) -> None:
        self._before = dict(rewards)

    def _draw(self) -> Panel:
        now = time.monotonic()
        if now - self._drawn > 1:
            self._drawn = now
            self._cpu = self._meter.cpu_seconds()
        parts: list[Any] = [self._progress]
        if self._before:
            parts += [Text(), self._table()]
        if self._means:
            parts += [Text(), Text(f"reward  {_spark(self._means)}  {self._means[-1]:.2f}")]
        parts += [Text(), Text(self._foot(), style="dim")]
        return Panel(Group(*parts), title=self._title, title_align="left")

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for name, justify in (("environment", "left"), ("before", "right"), ("now", "right"), ("", "left")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        for name, before in self._before.items():
            recent = self._rewards.get(name)
            now = sum(recent) / len(recent) if recent else None
            table.add_row(name, f"{before:.2f}", "–" if now is None else f"{now:.2f}", _bar(now, before))
        return table

    def _foot(self) -> str:
        values = self._values
        parts = [f"{self._meter.seconds:.0f} s", f"{self._cpu:.0f} CPU-s", f"{self._meter.peak_memory_mb:.0f} MB"]
        if "sampled_tokens" in values and values.get("total_step_time"):
            parts.append(f"{values['sampled_tokens'] / values['total_step_time']:.0f} sampled tokens/s")
        if "token_mult_prob_error" in values:
            parts.append(f"mismatch {values['token_mult_prob_error']:.7f}")
        if "sft/loss" in values:
            parts.append(f"loss {values['sft/loss']:.3f}")
        return "   ".join(parts)


def _bar(now: float | None, before: float) -> Text:
    filled = round(_BAR * (now or 0.0))
    cells = ["█"] * filled + ["░"] * (_BAR - filled)
    mark = min(round(_BAR * before), _BAR - 1)
    cells[mark] = "│"
    return Text("".join(cells), style="green" if now is not None and now > before else "yellow")


def _spark(values: list[float], width: int = 48) -> str:
    recent = values[-width:]
    return "".join(_BLOCKS[min(int(max(value, 0.0) * len(_BLOCKS)), len(_BLOCKS) - 1)] for value in recent)
