"""Numbers of a step, each with its own reduction, so that merging micro-batches or ranks is never a mean of means.

Names are NeMo RL's where it has one (`token_mult_prob_error`, `gen_kl_error`, `probs_ratio_clamped`, ...), so that
published gates transfer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gym_core.errors import BadRequest

if TYPE_CHECKING:
    from gym_core.store import Store


@dataclass(slots=True)
class _Number:
    reduction: str
    total: float
    count: float = 1.0


@dataclass(slots=True)
class Metrics:
    """`mean` takes a sum and its denominator; `reduce` divides once, at the very end."""

    numbers: dict[str, _Number] = field(default_factory=dict)

    def mean(self, name: str, total: float, count: float) -> None:
        self._put(name, _Number("mean", total, count))

    def sum(self, name: str, value: float) -> None:
        self._put(name, _Number("sum", value))

    def max(self, name: str, value: float) -> None:
        self._put(name, _Number("max", value))

    def min(self, name: str, value: float) -> None:
        self._put(name, _Number("min", value))

    def last(self, name: str, value: float) -> None:
        self._put(name, _Number("last", value))

    def merge(self, other: Metrics) -> Metrics:
        """Take the other's numbers in, each by its reduction. Raises ValueError where the two disagree on one."""
        for name, number in other.numbers.items():
            self._put(name, number)
        return self

    def _put(self, name: str, new: _Number) -> None:
        old = self.numbers.get(name)
        if old is None:
            self.numbers[name] = _Number(new.reduction, new.total, new.count)
            return
        if old.reduction != new.reduction:
            raise ValueError(f"metric {name} is reduced by {old.reduction}, not by {new.reduction}")
        match new.reduction:
            case "mean":
                old.total += new.total
                old.count += new.count
            case "sum":
                old.total += new.total
            case "max":
                old.total = max(old.total, new.total)
            case "min":
                old.total = min(old.total, new.total)
            case _:
                old.total = new.total

    def reduce(self) -> dict[str, float]:
        """Final values; a mean over nothing is left out rather than invented."""
        return {
            name: n.total / n.count if n.reduction == "mean" else n.total
            for name, n in self.numbers.items()
            if n.reduction != "mean" or n.count
        }


class Writer(Protocol):
    """Where a step's numbers go."""

    async def write(self, step: int, values: Mapping[str, float]) -> None: ...

    async def close(self) -> None: ...


class StoreWriter:
    """To the store of runs; the store stays the caller's."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store, self._run_id = store, run_id

    async def write(self, step: int, values: Mapping[str, float]) -> None:
        await self._store.put_metrics(self._run_id, step, dict(values))

    async def close(self) -> None:
        return None


class TensorBoardWriter:
    """Event files under `directory`."""

    def __init__(self, directory: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(directory))

    async def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name if "/" in name else f"train/{name}", value, step)

    async def close(self) -> None:
        self._writer.close()


class WandbWriter:
    """A run of Weights & Biases, for who has the extra `wandb`; `WANDB_MODE=offline` keeps it under `directory`.

    A run that is resumed goes on under its id. Raises BadRequest where the package is not installed, or does not begin
    a run, for want of a key or of a network.
    """

    def __init__(self, directory: Path, project: str, run_id: str, config: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError:
            raise BadRequest(
                "metrics are to go to Weights & Biases, which is not installed",
                field="wandb",
                hint="pip install 'palaestra[wandb]', or leave `wandb` empty",
            ) from None
        directory.mkdir(parents=True, exist_ok=True)
        try:
            self._run = wandb.init(
                project=project, id=run_id, name=run_id, dir=str(directory), config=dict(config), resume="allow"
            )
        except wandb.Error as error:
            raise BadRequest(
                f"Weights & Biases begins no run: {error}",
                field="wandb",
                hint="set WANDB_API_KEY, or WANDB_MODE=offline to keep metrics in the run's folder; then --resume",
            ) from None

    async def write(self, step: int, values: Mapping[str, float]) -> None:
        named = {name if "/" in name else f"train/{name}": value for name, value in values.items()}
        await asyncio.to_thread(self._run.log, named, step=step)

    async def close(self) -> None:
        await asyncio.to_thread(self._run.finish)


class CallbackWriter:
    """To a function, such as the live view of the terminal."""

    def __init__(self, callback: Callable[[int, Mapping[str, float]], None]) -> None:
        self._callback = callback

    async def write(self, step: int, values: Mapping[str, float]) -> None:
        self._callback(step, values)

    async def close(self) -> None:
        return None
