"""One token for many sequences at once: the loop that rollouts spend their time in.

At this size a step costs what its operations cost to launch, so weights that are used together are joined beforehand,
states are updated where they lie, and few experts are cheaper computed all than sorted. A plan holds the joined
weights; it is rebuilt when a parameter has been changed in place since (through `.data` this goes unseen). On a GPU the
steps run as captured graphs (`decode_graph`), whose joined weights are made again where they lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from model.cache import StateCache
from model.config import HybridConfig
from model.kernels.attention import attend_cached
from model.kernels.conv import causal_conv_step
from model.kernels.linear import product, product_add
from model.kernels.native.decode import NativeDecode
from model.kernels.norm import gated_rms_norm_reference, rms_norm_reference
from model.kernels.router import dense_weights, gate_logits
from model.kernels.ssd import ssd_step
from model.layers import native
from model.layers.attention import AttentionMixer
from model.layers.block import Block
from model.layers.linear import Linear, RMSNorm
from model.layers.mamba import MambaMixer
from model.layers.moe import MoEMixer

# Above this many hidden units over all experts, computing every expert costs more than sorting tokens by expert.
_DENSE_UNITS = 2048


class Batch(NamedTuple):
    """The slots of one step. conv [Lm, B, K-1, C] and ssm [Lm, B, G, N, R*P] are updated in place."""

    conv: Tensor
    ssm: Tensor
    cache: StateCache
    slots: Tensor  # [B] on the CPU
    here: slice | None  # the slots, when they are consecutive: conv and ssm are then views of the cache
    kv_rows: Tensor  # [B * Hkv]
    visible: Tensor | None  # [B, 1] cached positions a query may read, the new one included; None: all `reach` of them
    reach: int  # the largest of them
    whose: Tensor | None = None  # [B] on the device: conv and ssm are the whole cache, row b continues state whose[b]


class Step(Protocol):
    def __call__(self, hidden: Tensor, batch: Batch) -> Tensor: ...
    def refresh(self) -> None: ...


class DecodePlan:
    """Joined weights of one model and the step that uses them."""

    def __init__(
        self, config: HybridConfig, embeddings: Linear, blocks: Sequence[Block], norm_f: RMSNorm, lm_head: Linear
    ) -> None:
        self._watched: list[Tensor] = [
            p for module in (embeddings, *blocks, norm_f, lm_head) for p in module.parameters()
        ]
        self._watched += [buffer for block in blocks for buffer in block.buffers()]
        self._fingerprint = self._state_of_weights()
        self._eps = config.layer_norm_epsilon
        self._embeddings, self._norm, self._head = embeddings.weight, norm_f.weight, lm_head.weight
        self._moe = [block.mixer for block in blocks if isinstance(block.mixer, MoEMixer)]
        self._native = native.decode_plan(embeddings, blocks, norm_f, self._eps, lm_head)
        self._blocks, self._steps = blocks, None if self._native else build_steps(blocks)

    def is_current(self) -> bool:
        return self._fingerprint == self._state_of_weights()

    def _state_of_weights(self) -> list[tuple[int, int]]:
        return [(tensor.data_ptr(), tensor._version) for tensor in self._watched]

    def step(self, token_ids: Tensor, cache: StateCache, slots: Sequence[int] | Tensor) -> Tensor:
        """See `HybridModel.decode`."""
        index = cache.slot_index(slots)
        if token_ids.shape != index.shape:
            raise ValueError(f"{len(index)} slots need one token each, got shape {tuple(token_ids.shape)}")
        if self._native is not None and self._native_serves(token_ids, cache):
            return self._step_native(self._native, token_ids, cache, index)
        if self._steps is None:
            self._steps = build_steps(self._blocks)
        batch = _gather(cache, index)
        hidden = self._embeddings.index_select(0, token_ids)
        for step in self._steps:
            hidden = step(hidden, batch)
        _scatter(batch)
        logits = product(rms_norm_step(hidden, self._norm, self._eps), self._head)
        return logits if logits.dtype == torch.float64 else logits.float()

    def _native_serves(self, token_ids: Tensor, cache: StateCache) -> bool:
        ours = cache.conv.dtype == self._embeddings.dtype and cache.conv.device.type == "cpu" and len(token_ids) > 0
        asked = any(mixer.control.replayed is not None or mixer.control.balance is not None for mixer in self._moe)
        return ours and not asked

    def _step_native(self, plan: NativeDecode, token_ids: Tensor, cache: StateCache, index: Tensor) -> Tensor:
        least, most = token_ids.aminmax()
        if int(least) < 0 or int(most) >= len(self._embeddings):
            raise IndexError(f"tokens must be within 0..{len(self._embeddings) - 1}, got {int(least)}..{int(most)}")
        lengths = cache.lengths.index_select(0, index)
        cache.reserve(int(lengths.max()) + 1)
        buffers = cache.conv, cache.ssm, cache.keys, cache.values
        out, experts = plan.step(token_ids.to(torch.int64).contiguous(), index, lengths, buffers)
        cache.lengths.index_add_(0, index, torch.ones_like(index))
        for mixer, chosen in zip(self._moe, experts, strict=True):
            mixer.note(chosen, None)
        return out if plan.has_head else product(out, self._head)


def build_steps(blocks: Sequence[Block]) -> list[Step]:
    steps: list[Step] = []
    mamba = attention = 0
    for block in blocks:
        if isinstance(block.mixer, MambaMixer):
            steps.append(MambaStep(block, block.mixer, mamba))
            mamba += 1
        elif isinstance(block.mixer, AttentionMixer):
            steps.append(AttentionStep(block, block.mixer, attention))
            attention += 1
        else:
            assert isinstance(block.mixer, MoEMixer)
            wide = block.mixer.experts.up_proj.shape[:2].numel() > _DENSE_UNITS
            steps.append(SparseMoEStep(block, block.mixer) if wide else DenseMoEStep(block, block.mixer))
    return steps


def _gather(cache: StateCache, index: Tensor) -> Batch:
    count, first, last = len(index), int(index[0]), int(index[-1])
    here = None
    if last - first + 1 == count and (count < 3 or bool((index.diff() == 1).all())):
        here = slice(first, first + count)
    seen = cache.lengths[here] if here else cache.lengths.index_select(0, index)
    lengths = seen.tolist()
    reach, alike = max(lengths) + 1, lengths.count(lengths[0]) == count
    cache.reserve(reach)
    rows = cache.kv_rows(index, seen)
    visible = None if alike else (seen + 1)[:, None].to(cache.conv.device)
    if here:
        return Batch(cache.conv[:, here], cache.ssm[:, here], cache, index, here, rows, visible, reach)
    place = index.to(cache.conv.device)
    conv, ssm = cache.conv.index_select(1, place), cache.ssm.index_select(1, place)
    return Batch(conv, ssm, cache, index, None, rows, visible, reach)


def _scatter(batch: Batch) -> None:
    cache = batch.cache
    if batch.here is None:
        place = batch.slots.to(cache.conv.device)
        cache.conv.index_copy_(1, place, batch.conv)
        cache.ssm.index_copy_(1, place, batch.ssm)
    cache.lengths.index_add_(0, batch.slots, torch.ones_like(batch.slots))


class MambaStep:
    def __init__(self, block: Block, mixer: MambaMixer, layer: int) -> None:
        self.mixer, self.layer, self.eps, self.shape, self.sizes = mixer, layer, block.eps, mixer.shape, mixer.sizes
        self.norm, self.gate_norm = block.norm.weight, mixer.norm.weight
        self.in_proj, self.out_proj = mixer.in_proj.weight, mixer.out_proj.weight
        self.taps, self.bias = mixer.conv1d.weight, mixer.conv1d.bias
        self.A, self.D, self.dt_bias = self._made()

    def _made(self) -> tuple[Tensor, Tensor, Tensor]:
        mixer = self.mixer
        wide = torch.promote_types(mixer.A_log.dtype, torch.float32)
        return -torch.exp(mixer.A_log.to(wide)), mixer.D.to(wide), mixer.dt_bias.to(wide)

    def refresh(self) -> None:
        """Parameters were changed in place: what is made of them follows, where it lies."""
        _follow((self.A, self.D, self.dt_bias), self._made())

    def __call__(self, hidden: Tensor, batch: Batch) -> Tensor:
        z, xBC, dt = product(rms_norm_step(hidden, self.norm, self.eps), self.in_proj).split(self.sizes, -1)
        stream = causal_conv_step(xBC, batch.conv[self.layer], self.taps, self.bias, batch.whose)
        rate = F.softplus(dt.to(self.A.dtype) + self.dt_bias)
        y = ssd_step(stream, rate, self.A, self.D, self.shape, batch.ssm[self.layer], slots=batch.whose)
        return product_add(hidden, self._gated_norm(y, z), self.out_proj)

    def _gated_norm(self, y: Tensor, z: Tensor) -> Tensor:
        groups = self.shape.num_groups
        if y.dtype not in (torch.float32, torch.float64):
            return gated_rms_norm_reference(y, z, self.gate_norm, self.eps, groups)
        gated = (F.silu(z) * y).unflatten(1, (groups, -1))
        return F.rms_norm(gated, gated.shape[-1:], eps=self.eps).flatten(1).mul_(self.gate_norm)


class AttentionStep:
    def __init__(self, block: Block, mixer: AttentionMixer, layer: int) -> None:
        self.layer, self.eps, self.norm, self.shape = layer, block.eps, block.norm.weight, mixer.shape
        self.qkv_proj, self.o_proj = mixer.qkv_proj.weight, mixer.o_proj.weight

    def __call__(self, hidden: Tensor, batch: Batch) -> Tensor:
        q, k, v = self.shape.split(product(rms_norm_step(hidden, self.norm, self.eps), self.qkv_proj))
        batch.cache.write_kv(self.layer, batch.kv_rows, k, v)
        if batch.whose is not None:
            held = batch.cache.keys[self.layer], batch.cache.values[self.layer]
            assert batch.visible is not None
            return product_add(hidden, attend_cached(q[:, None], *held, batch.visible, batch.whose)[:, 0], self.o_proj)
        keys, values = self._cached(batch.cache.keys, batch), self._cached(batch.cache.values, batch)
        if batch.visible is None and not q.is_cuda:
            return product_add(hidden, self._attend_all(q, keys, values), self.o_proj)
        visible = batch.visible
        if visible is None:
            visible = torch.full((len(q), 1), batch.reach, device=q.device)
        out = attend_cached(q[:, None], keys, values, visible)
        return product_add(hidden, out[:, 0], self.o_proj)

    def refresh(self) -> None:
        """Nothing here is made of parameters."""

    def _attend_all(self, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """As `attend_cached` where every sequence is equally long: nothing to hide. q [B, Hq, dh] -> [B, Hq dh]."""
        wide = torch.promote_types(q.dtype, torch.float32)
        rows = q.reshape(-1, self.shape.num_heads // self.shape.num_kv_heads, self.shape.head_dim)
        scores = torch.bmm(rows.mul(self.shape.head_dim**-0.5), keys.flatten(0, 1).transpose(1, 2))
        weights = scores.softmax(-1, dtype=wide).to(q.dtype)
        return torch.bmm(weights, values.flatten(0, 1)).view(len(q), -1)

    def _cached(self, buffer: Tensor, batch: Batch) -> Tensor:
        """[B, Hkv, reach, dh]."""
        layer = buffer[self.layer, :, :, : batch.reach]
        return layer[batch.here] if batch.here else layer.index_select(0, batch.slots.to(layer.device))


class DenseMoEStep:
    """All experts for all tokens, those not chosen weighted zero; gate, experts and shared expert in one product.

    In a dtype narrower than fp32 the gate has a product of its own in fp32: rounded scores choose other experts than
    the training form does.
    """

    def __init__(self, block: Block, mixer: MoEMixer) -> None:
        self.eps, self.norm, self.mixer = block.eps, block.norm.weight, mixer
        self.top_k, self.scale, self.normalise = mixer.top_k, mixer.scale, mixer.normalise
        self.bias = mixer.gate.e_score_correction_bias
        experts = mixer.experts
        self.num_experts, self.units = experts.up_proj.shape[:2]
        wide = (
            experts.up_proj.dtype in (torch.float32, torch.float64) and mixer.gate.weight.dtype == experts.up_proj.dtype
        )
        self.gate = None if wide else mixer.gate.weight
        self.up, self.down = self._made()

    def _made(self) -> tuple[Tensor, Tensor]:
        experts, shared, gate = self.mixer.experts, self.mixer.shared_experts, self.mixer.gate.weight
        up = (*((gate,) if self.gate is None else ()), experts.up_proj.flatten(0, 1), shared.up_proj.weight)
        return torch.cat(up), torch.cat((experts.down_proj.flatten(0, 1).t(), shared.down_proj.weight), 1)

    def refresh(self) -> None:
        """Parameters were changed in place: the joined ones follow, where they lie."""
        _follow((self.up, self.down), self._made())

    def __call__(self, hidden: Tensor, batch: Batch) -> Tensor:
        x = rms_norm_step(hidden, self.norm, self.eps)
        if self.mixer.control.asks:
            return self.mixer.forward(x, hidden)
        both = product(x, self.up)
        if self.gate is None:
            logits, units = both[:, : self.num_experts], both[:, self.num_experts :].relu()
        else:
            logits, units = gate_logits(x, self.gate), both.relu()
        units = units * units
        routed = units[:, : self.num_experts * self.units].unflatten(1, (self.num_experts, -1))
        weights = dense_weights(logits, self.bias, self.top_k, self.scale, self.normalise)
        routed.mul_(weights[..., None].to(routed.dtype))
        return product_add(hidden, units, self.down)


class SparseMoEStep:
    """The training form, for models with many experts."""

    def __init__(self, block: Block, mixer: MoEMixer) -> None:
        self.eps, self.norm, self.mixer = block.eps, block.norm.weight, mixer

    def refresh(self) -> None:
        """Nothing here is made of parameters."""

    def __call__(self, hidden: Tensor, batch: Batch) -> Tensor:
        return self.mixer.forward(rms_norm_step(hidden, self.norm, self.eps), hidden)


def _follow(held: Sequence[Tensor], made: Sequence[Tensor]) -> None:
    for old, new in zip(held, made, strict=True):
        if old.data_ptr() != new.data_ptr():  # else it is the parameter itself
            old.copy_(new)


def rms_norm_step(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    if x.dtype in (torch.float32, torch.float64) and weight.dtype == x.dtype:
        # Half the calls of F.rms_norm, which torch composes on a CPU.
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return (x * weight).div_(size.square_().mul_(1 / x.shape[-1]).add_(eps).sqrt_())
    return rms_norm_reference(x, weight, eps)
