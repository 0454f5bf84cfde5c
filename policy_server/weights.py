"""New weights for the running engine: read, checked, then exchanged between two decode steps, or not at all.

path ─▶ tensors ─▶ names, shapes, checksums agree? ─▶ engine.exchange(version + 1)
                        └─ no: Conflict, the old weights stay
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gym_core.errors import BadRequest, Conflict
from model import checkpoint
from policy_server.engine import Engine


class WeightsParams(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`path`: a safetensors file or a folder of them; `checksums` by released tensor name, all of them or none."""

    path: str
    version: int
    checksums: dict[str, str] = {}


async def load_weights(engine: Engine, params: WeightsParams) -> dict[str, str]:
    """Take weights from disk. Returns the checksums of what is now served. Raises `BadRequest`, `Conflict`."""
    tensors = await asyncio.to_thread(read_weights, Path(params.path))
    return await publish(engine, tensors, params.version, params.checksums)


async def publish(
    engine: Engine, tensors: Mapping[str, Tensor], version: int, checksums: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Serve these tensors (by released name) as `version`. Returns checksums, computed from the model that serves them.

    Raises `Conflict`, the old weights still served, when the version is not newer, a tensor is missing, unknown or of
    another shape, or a checksum differs.
    """
    if checksums:
        compare_checksums(checksums, await asyncio.to_thread(checkpoint.checksum, tensors.items()))

    def load() -> dict[str, str]:
        if version <= engine.version:
            message = f"version {version} is not newer than the served version {engine.version}"
            raise Conflict(message, field="version", hint="versions only go up")
        try:
            checkpoint.load_tensors(engine.model, tensors)  # finds every misfit before it writes
        except ValueError as error:
            raise Conflict(str(error), field="path") from None
        return served_checksums(engine)

    return await engine.exchange(load, version)


def served_checksums(engine: Engine) -> dict[str, str]:
    """Checksums of the weights in the model; call it through `engine.between_steps`."""
    return checkpoint.checksum(checkpoint.state_tensors(engine.model))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a folder of them. Raises `BadRequest`."""
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise BadRequest(f"there are no weights at {path}", field="path", hint="give a safetensors file or its folder")
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            tensors |= load_file(file)
        except (SafetensorError, OSError) as error:
            raise BadRequest(f"{file} is not a safetensors file: {error}", field="path") from None
    return tensors


def compare_checksums(expected: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Raises `Conflict` naming the first tensor that is not the one expected."""
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise Conflict(
                f"the checksum of {name} is {found.get(name, 'absent')}, expected {expected.get(name, 'none')}",
                field=f"checksums.{name}",
                hint="the file is damaged or of another step; publish again",
            )
