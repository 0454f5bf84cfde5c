"""The processes of one layout: who shares what with whom, how they meet, and how they end together.

A process that fails leaves its groups, which closes its connections; whoever waits for it then gets an error at once,
leaves in turn, and so the whole world ends within seconds. A process that hangs is noticed by the timeout.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from model.parallel.layout import Layout

# What gloo, NCCL and the store say when the other side is gone; torch raises most of it as a bare RuntimeError.
_SIGNS_OF_LOSS = ("Connection closed", "Connection reset", "Connection refused", "Broken pipe", "imed out", "NCCL")


class RankLost(RuntimeError):
    """Another process of the layout is gone or silent: this one cannot finish what it was computing.

    Nothing was applied; start all processes again from the last checkpoint.
    """


@dataclass(frozen=True)
class Peers:
    """The processes along one axis of the layout, this one among them. handle is None where there is only this one."""

    size: int = 1
    rank: int = 0
    handle: dist.ProcessGroup | None = None

    @classmethod
    def along(cls, mesh: DeviceMesh) -> Peers:
        """The peers along a mesh of one dimension."""
        return cls(mesh.size(), mesh.get_local_rank(), mesh.get_group()) if mesh.size() > 1 else cls()


@dataclass(frozen=True)
class Ranks:
    """This process in its layout. tokens and edp are the meshes that FSDP2 shards over."""

    layout: Layout
    device: torch.device
    tokens: DeviceMesh
    edp: DeviceMesh
    data: Peers  # the token ranks
    dp: Peers
    cp: Peers
    tp: Peers
    ep: Peers

    @property
    def world(self) -> Peers:
        return Peers(self.layout.world, dist.get_rank(), dist.group.WORLD)

    def rank_of(self, ep_rank: int, tp_rank: int) -> int:
        """The first process that holds this part of the experts and of the heads."""
        return ep_rank * self.layout.tp + tp_rank


@contextmanager
def member(
    rank: int, world: int, init_method: str, device: torch.device | str = "cpu", timeout_s: float = 600.0
) -> Iterator[None]:
    """Be one of `world` processes: gloo on CPU, NCCL on GPUs. A silent peer is given up after timeout_s.

    init_method as in torch.distributed ("tcp://host:port", "file:///path", "env://"). Raises RankLost for any error
    that comes from another process's end; errors of this one pass unchanged, and end the others.
    """
    place = torch.device(device)
    backend = "nccl" if place.type == "cuda" else "gloo"
    if place.type == "cuda":
        torch.cuda.set_device(place)
    with _losses_named():
        timeout = timedelta(seconds=timeout_s)
        dist.init_process_group(backend, init_method=init_method, rank=rank, world_size=world, timeout=timeout)
        try:
            yield
        finally:
            dist.destroy_process_group()


def arrange(layout: Layout, device: torch.device | str = "cpu") -> Ranks:
    """The device meshes and groups of a layout; every member of the process group calls it, in the same order.

    Raises ValueError when the process group is not as large as the layout.
    """
    place = torch.device(device)
    if dist.get_world_size() != layout.world:
        raise ValueError(f"layout {layout} is for {layout.world} processes, {dist.get_world_size()} were started")
    dense = init_device_mesh(place.type, (layout.dp, layout.cp, layout.tp), mesh_dim_names=("dp", "cp", "tp"))
    sparse = init_device_mesh(place.type, (layout.edp, layout.ep, layout.tp), mesh_dim_names=("edp", "ep", "etp"))
    tokens = dense["dp", "cp"]._flatten("tokens")
    dp, cp, tp, ep = (Peers.along(mesh) for mesh in (dense["dp"], dense["cp"], dense["tp"], sparse["ep"]))
    return Ranks(layout, place, tokens, sparse["edp"], Peers.along(tokens), dp, cp, tp, ep)


@contextmanager
def _losses_named() -> Iterator[None]:
    try:
        yield
    except RankLost:
        raise
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or any(sign in str(error) for sign in _SIGNS_OF_LOSS):
            raise RankLost(f"another process of the layout is gone or silent ({error})") from error
        raise
