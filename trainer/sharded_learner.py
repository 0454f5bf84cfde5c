"""The learner as one of many processes: the same step over a model in a layout (docs/parallelism.md).

Every process is called with the whole batch and takes its part of it:

    samples ─▶ minibatches ─▶ dp replicas, balanced by tokens ─▶ packed micro-batches ─▶ cp x tp processes of a replica
    loss, gate, counts, gradient norm: added up over replicas, so every process knows the same numbers

The normaliser is that of the whole batch, so the sum of all gradients is the gradient of one process. Replicas make
equally many passes, or they would wait for one another: who has run out takes part with tokens that count nowhere.
Checkpoints are those of one process and load in any layout. The warm start is not here: Muon wants whole matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from gym_core.errors import BadRequest, PalaestraError
from model import checkpoint, weight_layout
from model.parallel.checkpoint import load_parallel, read_share, whole_model
from model.parallel.collectives import total
from model.parallel.gradients import clip_grad_norm, local
from model.parallel.layout import Layout
from model.parallel.parallelise import empty_share, parallelise
from model.parallel.publication import blank, write_whole
from model.parallel.ranks import Ranks, arrange
from model.parallel.sharded_model import ShardedModel
from model.stack import HybridModel
from model.weight_memory import Handle
from trainer import router
from trainer.build import build_learner
from trainer.config import GrpoRecipe, ObjectiveRecipe, Recipe
from trainer.disk import space_for
from trainer.learner import Learner
from trainer.metrics import Metrics
from trainer.mismatch import Mismatch
from trainer.pack import MicroBatch, Sample, pack
from trainer.sharded_moments import load_moments, moments_of
from trainer.shares import at_least, idle_batch, shares_of
from trainer.weight_ring import Offer, WeightRing

_ELSEWHERE = Offer(Handle(0, -1, 0, 0), [])
"""What a process other than 0 answers: nobody hears it."""


class ShardedLearner(Learner):
    """One process's part of a learner; every process makes every call, and process 0's answer is the answer."""

    def __init__(self, model: ShardedModel, recipe: GrpoRecipe, objective: ObjectiveRecipe, *, seed: int = 0) -> None:
        super().__init__(cast(HybridModel, model), recipe, objective, seed=seed)  # called alike, but for `_forward`
        self.sharded, self.ranks = model, model.ranks

    def begin(self, phase: str, lr: float) -> None:
        """Enter reinforcement. Raises BadRequest for the warm start."""
        if phase == "sft":
            raise BadRequest("a warm start runs in one process", field="layout", hint="begin from a `checkpoint`")
        super().begin(phase, lr)

    # the step

    def _pack(self, samples: Sequence[Sample]) -> list[MicroBatch]:
        """This replica's micro-batches, as many as any other's has."""
        dtype = torch.float64 if self.sharded.dtype == torch.float64 else torch.float32
        shares = shares_of([len(sample) for sample in samples], self.ranks.layout.dp)
        packed = []
        for share in shares:
            batches = pack([samples[i] for i in share], self.recipe.tokens_per_microbatch, dtype) if share else []
            packed.append([replace(batch, indices=[share[i] for i in batch.indices]) for batch in batches])
        mine = packed[self.ranks.dp.rank]
        idle = max(map(len, packed)) - len(mine)
        minimum = self.ranks.cp.size * max(1, self.sharded.config.conv_kernel - 1)
        batches = [at_least(batch, minimum) for batch in mine] + [idle_batch(minimum, dtype) for _ in range(idle)]
        return [batch.to(self.ranks.device) for batch in batches]

    def _accumulate(
        self, batch: MicroBatch, old: Tensor | None, normaliser: float, mismatch: Mismatch, metrics: Metrics
    ) -> float:
        if batch.num_sequences:
            return super()._accumulate(batch, old, normaliser, mismatch, metrics)
        logprobs, _ = self._forward(batch)
        if self.reference is not None:
            self._reference_logprobs(batch)
        logprobs.sum().backward()
        return 0.0

    def _forward(
        self, batch: MicroBatch, model: HybridModel | None = None, temperature: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """As the learner's, for the tokens of this replica: the same on all its processes."""
        sharded: Any = model or self.model
        num_tokens = len(batch.token_ids)
        real = int(batch.cu_seqlens[batch.num_sequences])
        counted = None if real == num_tokens else torch.arange(num_tokens, device=batch.token_ids.device) < real
        targets = batch.token_ids.roll(-1)
        own = sharded(batch.token_ids, batch.cu_seqlens, targets, counted, temperature or self.temperature)
        if not torch.is_grad_enabled():
            sharded.reshard()  # no backward will: what is read or written next are the shards
        logprobs, entropy = (sharded.whole(part, num_tokens).index_select(0, batch.rows) for part in own)
        return logprobs, entropy

    def _replay_rows(self, experts: Tensor) -> Tensor:
        return experts[self.sharded.rows(len(experts))]

    def _clip(self, max_norm: float) -> float:
        return float(clip_grad_norm(self.sharded, max_norm))

    def _balance(self, rate: float) -> dict[str, float]:
        layers = list(self.sharded.moe_layers())
        if not layers:
            return {}
        counts = total(torch.stack([layer.expert_counts for layer in layers]), self.ranks.data).double()
        self.sharded.update_expert_bias(rate)
        return router.violation_metrics([count for count in counts if count.sum() > 0])

    def _check(self, mismatch: Mismatch, metrics: Metrics) -> None:
        whole = Mismatch()
        for other in self._of_replicas(mismatch):
            whole.merge(other)
        super()._check(whole, metrics)

    def _summed(self, loss: float) -> float:
        return float(sum(self._of_replicas(loss)))

    def _merged(self, own: Metrics) -> Metrics:
        merged = Metrics()
        for other in self._of_replicas(own):
            merged.merge(other)
        return merged

    def _scores(self, own: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        return {index: row for part in self._of_replicas(own) for index, row in part.items()}

    def _of_replicas(self, own: Any) -> list[Any]:
        """What each replica of the data has, in their order, the same list on every process."""
        everyone: list[Any] = [None] * self.ranks.layout.world
        dist.all_gather_object(everyone, own)
        step = self.ranks.layout.cp * self.ranks.layout.tp
        return everyone[::step]

    def _anchor(self) -> HybridModel:
        return cast(HybridModel, _copy(self.sharded).requires_grad_(False).eval())

    # weights on their way to a policy server: process 0 has the memory, the others send it their parts

    def offer_weights(self, shared: bool) -> Offer:
        """As the learner's, brought together parameter by parameter; the answer of process 0 is the offer."""
        memory = self._memory(shared)
        write_whole(self.sharded, memory)
        if memory is None:
            return _ELSEWHERE
        offer = self._rings[shared].written()[0]
        return replace(offer, checksums=weight_layout.checksums(weight_layout.views(offer.layout, memory).items()))

    def _memory(self, shared: bool) -> Tensor | None:
        """The memory to write next, on process 0. Where there is none to be had, all raise what it met."""
        found: list[Tensor] = []

        def find() -> None:
            if dist.get_rank() == 0:
                if shared not in self._rings:
                    self._rings[shared] = WeightRing(blank(self.sharded), shared)
                found.append(self._rings[shared].free())

        self._agreed(find)
        return found[0] if found else None

    def send_weights(self, shared: bool, url: str, order: dict[str, Any], timeout_s: float) -> None:
        """As the learner's, by process 0; what it meets is raised by all."""
        alone = super().send_weights
        self._agreed(lambda: alone(shared, url, order, timeout_s) if dist.get_rank() == 0 else None)

    def settle_weights(self, shared: bool, taken: bool | None) -> None:
        if dist.get_rank() == 0:
            super().settle_weights(shared, taken)

    def weight_checksums(self) -> dict[str, str]:
        """As the learner's, of the model brought together once more; {} on all but process 0."""
        whole = whole_model(self.sharded)
        return {} if whole is None else weight_layout.checksums(checkpoint.state_tensors(whole))

    # files

    def export(self, path: str | Path) -> dict[str, str]:
        """As the learner's; process 0 gathers the model, writes it and has the checksums, the others have none."""
        checksums: dict[str, str] = {}
        whole = whole_model(self.sharded)

        def write() -> None:
            if whole is not None:
                tensors = {name: tensor.detach().contiguous() for name, tensor in checkpoint.state_tensors(whole)}
                with space_for(Path(path), "weights"):
                    save_file({name: tensor.clone() for name, tensor in tensors.items()}, str(path))
                checksums.update(checkpoint.checksum(tensors.items()))

        self._agreed(write)
        return checksums

    def write_model(self, directory: Path, also: Callable[[Path], None] | None = None) -> None:
        self._write(self.sharded, directory, also)

    def _write(self, model: ShardedModel, directory: Path, also: Callable[[Path], None] | None = None) -> None:
        whole = whole_model(model)

        def write() -> None:
            if whole is not None:
                with space_for(directory, "checkpoint"):
                    checkpoint.save_pretrained(whole, directory, also)

        self._agreed(write)

    def save(self, directory: str | Path) -> None:
        """The files that one process writes."""
        self._write(self.sharded, Path(directory) / "model")
        if self.reference is not None:
            self._write(cast(ShardedModel, self.reference), Path(directory) / "reference")
        state, path = self.state_dict(), Path(directory) / "learner.pt"

        def write() -> None:
            if dist.get_rank() == 0:
                with space_for(path, "checkpoint"), path.open("wb") as file:
                    torch.save(state, file)

        self._agreed(write)

    def load(self, directory: str | Path, lr: float) -> None:
        """What a learner saved, in whatever layout. Raises BadRequest when the weights are of another shape."""
        source = Path(directory)
        self._agreed(lambda: _read(self.sharded, source / "model"))
        state: dict[str, Any] = {}
        self._agreed(lambda: state.update(torch.load(source / "learner.pt", weights_only=True, mmap=True)))
        self.load_state_dict(state, lr)
        if self.reference is not None:
            anchor = cast(ShardedModel, self.reference)
            self._agreed(lambda: _read(anchor, source / "reference"))

    def state_dict(self) -> dict[str, Any]:
        """As the learner's, moments whole, on process 0; the others have {}."""
        optimizers = [moments_of(self.sharded, optimizer) for optimizer in self.optimizer.optimizers]
        state = {"phase": self.phase, "optimizer": optimizers, "torch_rng": torch.get_rng_state()}
        return state if dist.get_rank() == 0 else {}

    def load_state_dict(self, state: dict[str, Any], lr: float) -> None:
        if state["phase"]:
            self.begin(state["phase"], lr)
            for optimizer, saved in zip(self.optimizer.optimizers, state["optimizer"], strict=True):
                load_moments(self.sharded, optimizer, saved["state"])
        torch.set_rng_state(state["torch_rng"].clone())

    def _agreed(self, work: Callable[[], Any]) -> None:
        """Do what may fail on one process alone, a file that cannot be written; then all of them raise the first error.

        `work` waits for no other process.
        """
        failed: Exception | None = None
        try:
            work()
        except (PalaestraError, OSError, ValueError) as error:
            failed = error
        errors: list[Exception | None] = [None] * self.ranks.layout.world
        dist.all_gather_object(errors, failed)
        first = next((error for error in errors if error is not None), None)
        if first is not None:
            raise first


def _copy(model: ShardedModel) -> ShardedModel:
    """A second model with the same numbers in the same layout."""
    twin = empty_share(model.config, model.ranks, model.dtype)
    with torch.no_grad():
        for ours, theirs in zip(twin.parameters(), model.parameters(), strict=True):
            local(ours).copy_(local(theirs))
        for own, other in zip(twin.moe_layers(), model.moe_layers(), strict=True):
            own.gate.e_score_correction_bias.copy_(other.gate.e_score_correction_bias)
    return twin


def _read(model: ShardedModel, directory: Path) -> None:
    try:
        read_share(model, directory)
    except (FileNotFoundError, ValueError) as error:
        raise BadRequest(str(error), field="checkpoint", hint="resume with the recipe it was made with") from None


def build_sharded_learner(
    recipe: Recipe, directory: str | None = None, dtype: torch.dtype = torch.float32
) -> ShardedLearner:
    """This process's part of a learner in the recipe's layout; the process group is there already.

    Raises BadRequest when the layout does not fit the model, or nothing can be read.
    """
    try:
        layout = Layout(dp=recipe.layout.dp, ep=recipe.layout.ep, tp=recipe.layout.tp, cp=recipe.layout.cp)
        model = _share(recipe, arrange(layout), directory, dtype)
    except (FileNotFoundError, ValueError) as error:
        raise BadRequest(str(error), field="layout", hint="--set layout.ep=… (or dp, tp, cp)") from None
    model.recompute(recipe.layout.recompute)
    return ShardedLearner(model, recipe.learning, recipe.objective, seed=recipe.seed)


def _share(recipe: Recipe, ranks: Ranks, directory: str | None, dtype: torch.dtype) -> ShardedModel:
    if directory is None:
        return parallelise(build_learner(recipe).model.to(dtype), ranks)
    return load_parallel(directory, ranks, dtype)
