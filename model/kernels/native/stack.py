"""Several layers in one compiled call a direction; see cpp/stack.cpp.

    x ─► layer 1 ─► ... ─► layer n       a run of whole sequences goes through all layers before the next run begins

The numbers are those of the layers called one by one, to the bit. What is saved is everything around them: a call, a
node of the graph and a wait for all threads for each layer and direction.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels.attention import AttentionShape
from model.kernels.native.attention import AttentionWeights, attention_arguments, attention_keeps
from model.kernels.native.library import added_up, address, padded, run, structure
from model.kernels.native.mamba import MambaWeights, mamba_arguments, mamba_keeps
from model.kernels.native.moe import MoERule, MoEWeights, moe_arguments, moe_keeps
from model.kernels.ssd_shape import SSDShape
from model.layout import PackedLayout

KINDS = {MambaWeights: 0, AttentionWeights: 1, MoEWeights: 2}
_Arguments = structure(
    "StackArguments",
    ints=("num_layers", "numbers"),
    pointers=("kinds", "layers", "bounds", "places", "grad", "grads"),
)

Layer = (
    tuple[MambaWeights, SSDShape, float] | tuple[AttentionWeights, AttentionShape, float] | tuple[MoEWeights, MoERule]
)


class Reading(NamedTuple):
    """A pass that goes on from states: its output, and what the sequences hold after it, by layer of each kind."""

    hidden: Tensor  # [T, D]
    experts: list[Tensor]  # [T, k] int64
    conv: Tensor  # [Lm, B, K-1, C]
    ssm: Tensor  # [Lm, B, G, N, R*P]
    projected: list[Tensor]  # queries, keys and values [T, (Hq + 2 Hkv) dh]


def stack_layers(
    x: Tensor, layers: Sequence[Layer], layout: PackedLayout, recorded: Sequence[Tensor | None]
) -> tuple[Tensor, list[Tensor]]:
    """x [T, D] through all layers -> [T, D], and the experts [T, k] int64 of each layer of experts, with gradients.

    recorded: for each layer of experts what to replay [T, k] int64, or None.
    """
    weights = [weight for layer in layers for weight in layer[0]]
    if torch.is_grad_enabled() and any(part.requires_grad for part in (x, *weights)):
        hidden, *experts = _Stack.apply(x, layers, layout, recorded, *weights)
        return hidden, experts
    call = _Call(layers, layout, recorded)
    hidden, projected = call.in_place(x), None
    for arguments in call.of(AttentionWeights):
        projected = call.room(arguments) if projected is None else projected
        arguments.projected = address(projected)
    call.forward(x.dtype)
    return hidden, call.experts


def read_layers(
    x: Tensor,
    layers: Sequence[Layer],
    layout: PackedLayout,
    recorded: Sequence[Tensor | None],
    before: tuple[Tensor, Tensor] | None,
) -> Reading:
    """As `stack_layers` without gradients, from conv [Lm, B, K-1, C] and ssm [Lm, B, G, N, R*P]; None: from nothing."""
    call = _Call(layers, layout, recorded)
    hidden = call.in_place(x)
    mamba = [layer for layer in layers if isinstance(layer[0], MambaWeights)]
    after = [x.new_empty(0), x.new_empty(0)]
    if mamba:
        taps, shape = mamba[0][0].taps, mamba[0][1]
        batch = len(mamba), layout.num_sequences
        after = [x.new_empty(*batch, len(taps) - 1, taps.shape[1]), x.new_empty(batch[0], *shape.states(batch[1]))]
    for number, arguments in enumerate(call.of(MambaWeights)):
        arguments.conv_out, arguments.ssm_out = (address(part[number]) for part in after)
        if before is not None:
            arguments.conv_in, arguments.ssm_in = (address(part[number]) for part in before)
    projected = []
    for arguments in call.of(AttentionWeights):
        projected.append(call.room(arguments))
        arguments.projected = address(projected[-1])
    call.forward(x.dtype)
    widths = [len(layer[0].qkv) for layer in layers if isinstance(layer[0], AttentionWeights)]
    seen = [rows[:, :width] for rows, width in zip(projected, widths, strict=True)]
    return Reading(hidden, call.experts, after[0], after[1], seen)


class _Call:
    """The structures of one pass over some layers, and what must live as long as they."""

    def __init__(self, layers: Sequence[Layer], layout: PackedLayout, recorded: Sequence[Tensor | None]) -> None:
        self.layers, self.layout = layers, layout
        # Aliases, not the parameters: where a parameter is given other memory, what is read here must stay.
        self.held = [weight.detach() for layer in layers for weight in layer[0]]
        self.structures = [self._structure(layer) for layer in layers]
        self.experts: list[Tensor] = []
        for arguments, replayed in zip(self.of(MoEWeights), recorded, strict=True):
            replayed = None if replayed is None else replayed.contiguous()
            self.experts.append(torch.empty(layout.num_tokens, arguments.k, dtype=torch.int64))
            arguments.experts, arguments.recorded = address(self.experts[-1]), address(replayed)
            self.held += [] if replayed is None else [replayed]
        kinds = [KINDS[type(layer[0])] for layer in layers]
        numbers = [sum(weight.numel() for weight in layer[0]) for layer in layers]
        places = [sum(numbers[:place]) for place in range(len(layers))]
        table = torch.tensor([kinds, places, [ctypes.addressof(part) for part in self.structures]], dtype=torch.int64)
        self.held.append(table)
        self.arguments = _Arguments(len(layers), sum(numbers), bounds=address(layout.bounds))
        self.arguments.kinds, self.arguments.places, self.arguments.layers = (address(row) for row in table)

    def of(self, kind: type) -> list[Any]:
        """The structures of this kind of layer."""
        pairs = zip(self.layers, self.structures, strict=True)
        return [structure for layer, structure in pairs if isinstance(layer[0], kind)]

    def in_place(self, x: Tensor) -> Tensor:
        """A copy of x that every layer changes."""
        hidden = x.clone(memory_format=torch.contiguous_format)
        for arguments in self.structures:
            arguments.x = arguments.out = address(hidden)
        return hidden

    def room(self, attention: Any) -> Tensor:
        """Where an attention layer may write queries, keys and values [T, padded]."""
        qkv = (attention.heads + 2 * attention.kv_heads) * attention.size
        like = self.held[0]
        return like.new_empty(self.layout.num_tokens, padded(qkv, like))

    def keeps(self, x: Tensor, layer: Layer) -> dict[str, int]:
        """What a layer keeps for its gradient, in numbers."""
        if isinstance(layer[0], MambaWeights):
            return mamba_keeps(x, *layer[:2], self.layout)
        if isinstance(layer[0], AttentionWeights):
            return attention_keeps(x, *layer[:2])
        return moe_keeps(x, *layer)

    def place(self, x: Tensor, kept: Sequence[Tensor], hidden: Tensor | None) -> None:
        """Point each layer at its input, its output and the block of what it keeps; the last one writes `hidden`."""
        source = address(x)
        for layer, arguments, block in zip(self.layers, self.structures, kept, strict=True):
            at = block.data_ptr()
            arguments.x, arguments.out = source, at
            source = at
            for name, size in ({"out": x.numel()} | self.keeps(x, layer)).items():
                setattr(arguments, name, at)
                at += padded(size, x) * x.element_size()
        self.structures[-1].out = address(hidden)

    def empty_blocks(self, x: Tensor) -> list[Tensor]:
        """Memory for what each layer keeps."""
        sizes = [[x.numel(), *self.keeps(x, layer).values()] for layer in self.layers]
        return [x.new_empty(sum(padded(size, x) for size in block)) for block in sizes]

    def forward(self, dtype: torch.dtype) -> None:
        run(dtype, "stack_forward", self.arguments, self.layout.parts, numbered=False)

    def backward(self, grad: Tensor) -> Tensor:
        """grad [T, D] becomes that of the input; gradients of all weights, one after another."""
        grads = grad.new_empty(len(self.layout.parts) - 1, self.arguments.numbers)
        self.arguments.grad, self.arguments.grads = address(grad), address(grads)
        run(grad.dtype, "stack_backward", self.arguments, self.layout.parts, numbered=True)
        return added_up(grads)

    def _structure(self, layer: Layer) -> ctypes.Structure:
        if isinstance(layer[0], MambaWeights):
            arguments, made = mamba_arguments(*layer, chunk_size=self.layout.chunk_size)
            arguments.first_state = address(self.layout.state_places)
        elif isinstance(layer[0], AttentionWeights):
            arguments, made = attention_arguments(*layer)
        else:
            arguments, made = moe_arguments(*layer)
            arguments.tokens = self.layout.num_tokens
        if not isinstance(layer[0], MoEWeights):
            arguments.bounds = address(self.layout.bounds)
        self.held += made
        return arguments


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        layers: Sequence[Layer],
        layout: PackedLayout,
        recorded: Sequence[Tensor | None],
        *weights: Tensor,
    ) -> tuple[Tensor, ...]:
        x, call = x.contiguous(), _Call(layers, layout, recorded)
        hidden, kept = torch.empty_like(x), call.empty_blocks(x)
        call.place(x, kept, hidden)
        call.forward(x.dtype)
        ctx.save_for_backward(x, *kept, *weights)
        ctx.call, ctx.num_blocks = call, len(kept)
        ctx.mark_non_differentiable(*call.experts)
        ctx.set_materialize_grads(False)
        return hidden, *call.experts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, *_experts: None) -> tuple[Tensor | None, ...]:
        x, *saved = ctx.saved_tensors
        kept, weights = saved[: ctx.num_blocks], saved[ctx.num_blocks :]
        if grad is None:
            return (None,) * (4 + len(weights))
        call, stream = ctx.call, grad.clone(memory_format=torch.contiguous_format)
        call.place(x, kept, None)
        parts = call.backward(stream).split([weight.numel() for weight in weights])
        by_weight = [part.view_as(weight) for part, weight in zip(parts, weights, strict=True)]
        return stream, None, None, None, *by_weight
