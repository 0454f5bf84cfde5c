"""A model and its optimizer as they are kept: begun in a phase, written and read back, offered to a policy server.

begin ─▶ (trained by whoever holds it) ─▶ save ─▶ load        a checkpoint's part: weights, optimizer, generator
                                      ─▶ write_model          released names, for use
                                      ─▶ offer_weights, send_weights, export   on their way to a policy server
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from gym_core.errors import BadRequest
from model import checkpoint, weight_layout
from model.stack import HybridModel
from model.weight_memory import machine
from trainer import optim
from trainer.config import GrpoRecipe, ObjectiveRecipe
from trainer.disk import space_for
from trainer.weight_post import post_weights
from trainer.weight_ring import Offer, WeightRing


class HeldModel:
    """Owns model and optimizer. Not thread-safe: a placement calls it from one thread at a time."""

    def __init__(self, model: HybridModel, recipe: GrpoRecipe, objective: ObjectiveRecipe, *, seed: int = 0) -> None:
        self.model, self.recipe, self.objective, self.seed = model, recipe, objective, seed
        self.phase = ""
        self.reference: HybridModel | None = None
        self.optimizer = optim.OptimizerSet([])
        self._rings: dict[bool, WeightRing] = {}

    def begin(self, phase: str, lr: float) -> None:
        """Enter a phase with a fresh optimizer: `sft` (Muon and AdamW) or `grpo` (AdamW, router weights frozen)."""
        if phase not in ("sft", "grpo"):
            raise BadRequest(f"no phase is called {phase!r}", field="phase", hint="sft or grpo")
        if phase == "grpo":
            self.model.freeze_router()
            self.reference = self._anchor() if self.objective.kl_coef else None
        self.phase = phase
        self.optimizer = optim.build(self.model, "muon" if phase == "sft" else "adamw", lr)

    def _anchor(self) -> HybridModel:
        """The model as it is now, for reading only."""
        return copy.deepcopy(self.model).requires_grad_(False).eval()

    def state_dict(self) -> dict[str, Any]:
        """Optimizer, generator and counters; weights are saved beside it, under their released names."""
        return {
            "phase": self.phase,
            "optimizer": self.optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any], lr: float) -> None:
        if state["phase"]:
            self.begin(state["phase"], lr)
            self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_rng"])

    def export(self, path: str | Path) -> dict[str, str]:
        """Write every parameter and buffer to a safetensors file; returns the checksum of every tensor."""
        tensors = {name: _own(tensor) for name, tensor in checkpoint.state_tensors(self.model)}
        with space_for(Path(path), "weights"):
            save_file(tensors, str(path))
        return checkpoint.checksum(tensors.items())

    def write_model(self, directory: Path, also: Callable[[Path], None] | None = None) -> None:
        """The model under its released names; `also` writes beside it before the folder is in place."""
        checkpoint.save_pretrained(self.model, directory, also)

    def offer_weights(self, shared: bool) -> Offer:
        """Write every parameter and buffer into memory that a policy server can adopt; see `WeightRing`."""
        if shared not in self._rings:
            self._rings[shared] = WeightRing(self.model, shared)
        ring = self._rings[shared]
        weight_layout.write(self.model, ring.free())
        return ring.written()[0]

    def send_weights(self, shared: bool, url: str, order: dict[str, Any], timeout_s: float) -> None:
        """The bytes of the last offer from here to the policy server at `url`, as POST /weights/body wants them.

        Raises what it answers, and as `Client.post`.
        """
        offer, memory = self._rings[shared].written()
        post_weights(url, {**order, "layout": offer.layout, "nbytes": len(memory)}, memory, timeout_s)

    def machine(self) -> str:
        """Where shared memory of ours can be opened (`weight_memory.machine`)."""
        return machine()

    def settle_weights(self, shared: bool, taken: bool | None) -> None:
        """Whether the last offer is served now; None where nobody knows."""
        self._rings[shared].settle(taken)

    def weight_checksums(self) -> dict[str, str]:
        """`weight_layout.checksums` of every parameter and buffer."""
        return weight_layout.checksums(checkpoint.state_tensors(self.model))

    def save(self, directory: str | Path) -> None:
        """Model and optimizer into a directory that exists."""
        self.write_model(Path(directory) / "model")
        if self.reference is not None:
            checkpoint.save_pretrained(self.reference, Path(directory) / "reference")
        path = Path(directory) / "learner.pt"
        with space_for(path, "checkpoint"), path.open("wb") as file:
            torch.save(self.state_dict(), file)

    def load(self, directory: str | Path, lr: float) -> None:
        """Everything `save` wrote. Raises BadRequest when the weights are of another shape."""
        saved = read_model(Path(directory) / "model", self.model.dtype)
        try:
            checkpoint.load_tensors(self.model, dict(checkpoint.state_tensors(saved)))
        except ValueError as error:
            raise BadRequest(str(error), field="checkpoint", hint="resume with the recipe it was made with") from None
        self.load_state_dict(torch.load(Path(directory) / "learner.pt", weights_only=True), lr)
        if self.reference is not None:
            anchor = read_model(Path(directory) / "reference", self.model.dtype)
            checkpoint.load_tensors(self.reference, dict(checkpoint.state_tensors(anchor)))


def _own(tensor: Tensor) -> Tensor:
    """A contiguous copy that shares its memory with nothing."""
    return tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format)


def read_model(directory: Path, dtype: torch.dtype = torch.float32) -> HybridModel:
    """The model in a folder. Raises BadRequest."""
    try:
        return checkpoint.load_pretrained(directory, dtype=dtype)
    except (FileNotFoundError, ValueError) as error:
        raise BadRequest(f"no model can be read: {error}", field="checkpoint") from None
