"""New weights for the running engine: taken, checked, then exchanged between two decode steps, or not at all.

    path | memory | body ─▶ names, shapes, dtypes, checksums agree? ─▶ engine.exchange(version + 1) ─▶ adopt, or copy
                                └─ no: Conflict, the old weights stay

Three ways in, chosen by whoever publishes: a safetensors file or folder; memory of this machine
(`model.weight_memory`), which the served model then lies in, so that nothing is copied here; the bytes of that memory
as the body of a request.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import torch
from torch import Tensor

from gym_core.errors import BadRequest, Conflict
from model import checkpoint, weight_layout
from model.checkpoint_read import read_files
from model.stack import HybridModel
from model.weight_layout import Place
from model.weight_memory import Handle
from policy_server.engine import Engine

Switch = Literal["between_tokens", "drain"]


class WeightsParams(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where the weights are: `path`, a safetensors file or a folder of them, or `memory` with its `layout`.

    `checksums` by released tensor name, all of them or none: of `model.checkpoint` for a path, of `weight_layout` else.
    `switch` is when they are exchanged, `switch_s` how long that may wait.
    """

    version: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
    path: str = ""
    memory: Handle | None = None
    layout: list[Place] = []
    nbytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    checksums: dict[str, str] = {}
    switch: Switch = "between_tokens"
    switch_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0


class Taken(msgspec.Struct, kw_only=True):
    """What POST /weights answers: the version served now; checksums of what is served, for a path; seconds by phase."""

    version: int
    checksums: dict[str, str]
    seconds: dict[str, float]


async def load_weights(engine: Engine, params: WeightsParams) -> Taken:
    """Take weights from disk or memory. Raises `BadRequest`, `Conflict`, `DeadlineExceeded`."""
    if bool(params.path) == (params.memory is not None):
        raise BadRequest("give either `path` or `memory`", field="path")
    began = time.perf_counter()
    if params.memory is None:
        tensors = await asyncio.to_thread(read_weights, Path(params.path))
        read_s = time.perf_counter() - began
        checksums = await publish(engine, tensors, params.version, params.checksums, params.switch, params.switch_s)
        seconds = {"read": read_s, "switch": time.perf_counter() - began - read_s}
        return Taken(version=engine.version, checksums=checksums, seconds=seconds)
    try:
        memory = engine.memories.open(params.memory)
    except ValueError as error:
        raise BadRequest(str(error), field="memory", hint="publish by disk or http") from None
    return await take_memory(engine, params, memory)


async def take_memory(engine: Engine, params: WeightsParams, memory: Tensor) -> Taken:
    """Serve what lies in memory u8[n]: exchange addresses where the model is laid out alike, copy where it is not.

    The memory must stay as it is until other weights are served. Raises as `publish`.
    """
    began = time.perf_counter()
    try:
        found = weight_layout.views(params.layout, memory)
    except ValueError as error:
        raise Conflict(str(error), field="layout") from None
    if params.checksums:
        compare_checksums(params.checksums, await asyncio.to_thread(weight_layout.checksums, found.items()))
    checked_s = time.perf_counter() - began
    model = engine.model

    def load() -> None:
        _require_newer(engine, params.version)
        if _alike(model, params.layout, len(memory)):
            weight_layout.adopt(model, memory)
        else:
            _copy(model, found, "layout")

    await engine.exchange(load, params.version, drain=params.switch == "drain", timeout_s=params.switch_s)
    seconds = {"check": checked_s, "switch": time.perf_counter() - began - checked_s}
    return Taken(version=params.version, checksums={}, seconds=seconds)


async def publish(
    engine: Engine,
    tensors: Mapping[str, Tensor],
    version: int,
    checksums: Mapping[str, str] | None = None,
    switch: Switch = "between_tokens",
    switch_s: float | None = None,
) -> dict[str, str]:
    """Serve these tensors (by released name) as `version`. Returns checksums, computed from the model that serves them.

    Raises `Conflict`, the old weights still served, when the version is not newer, a tensor is missing, unknown or of
    another shape or not finite, or a checksum differs; `DeadlineExceeded` when they could not be exchanged in time.
    """
    if checksums:
        compare_checksums(checksums, await asyncio.to_thread(checkpoint.checksum, tensors.items()))
    await asyncio.to_thread(require_finite, tensors.items())

    def load() -> dict[str, str]:
        _require_newer(engine, version)
        _copy(engine.model, tensors, "path")
        return served_checksums(engine)

    return await engine.exchange(load, version, drain=switch == "drain", timeout_s=switch_s)


async def audit(engine: Engine) -> tuple[int, dict[str, str]]:
    """(version, `weight_layout.checksums` of what is served). Tokens go on while they are computed.

    Raises `Conflict` when the weights were exchanged meanwhile, and where a number of theirs is not finite.
    """
    version = engine.version
    found, _ = await asyncio.gather(
        asyncio.to_thread(weight_layout.checksums, checkpoint.state_tensors(engine.model)),
        asyncio.to_thread(require_finite, checkpoint.state_tensors(engine.model)),
    )
    if engine.version != version:
        raise Conflict(f"version {version} was replaced while its checksums were computed", stage="verify")
    return version, found


def served_checksums(engine: Engine) -> dict[str, str]:
    """`checkpoint.checksum` of the weights in the model; call it through `engine.between_steps`."""
    return checkpoint.checksum(checkpoint.state_tensors(engine.model))


def require_finite(tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Raises `Conflict` naming the first tensor with a NaN or an infinity.

    The extremes tell, and are read off as fast as memory is.
    """
    for name, tensor in tensors:
        extremes = torch.aminmax(tensor) if tensor.numel() else ()
        if not all(math.isfinite(each.item()) for each in extremes):
            raise Conflict(f"{name} has numbers that are not finite", field=name, hint="the learner has diverged")


def _require_newer(engine: Engine, version: int) -> None:
    if version <= engine.version:
        message = f"version {version} is not newer than the served version {engine.version}"
        raise Conflict(message, field="version", hint="versions only go up")


def _alike(model: HybridModel, layout: Sequence[Place], nbytes: int) -> bool:
    if model.device.type != "cpu":
        return False
    places, needed = weight_layout.places_of(model)
    return places == list(layout) and needed <= nbytes


def _copy(model: HybridModel, tensors: Mapping[str, Tensor], field: str) -> None:
    try:
        checkpoint.load_tensors(model, tensors)  # finds every misfit before it writes
    except ValueError as error:
        raise Conflict(str(error), field=field) from None


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a folder of them. Raises `BadRequest`."""
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise BadRequest(f"there are no weights at {path}", field="path", hint="give a safetensors file or its folder")
    try:
        return read_files(files)
    except (ValueError, OSError) as error:
        raise BadRequest(str(error), field="path", hint="publish again") from None


def compare_checksums(expected: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Raises `Conflict` naming the first tensor that is not the one expected."""
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise Conflict(
                f"the checksum of {name} is {found.get(name, 'absent')}, expected {expected.get(name, 'none')}",
                field=f"checksums.{name}",
                hint="the weights are damaged or of another step; publish again",
            )
