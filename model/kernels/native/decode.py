"""One token more for many sequences in one compiled call through the whole stack; see cpp/decode.cpp."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from model.kernels.native.attention import AttentionWeights, attention_arguments
from model.kernels.native.library import address, library, structure, turned
from model.kernels.native.mamba import MambaWeights, mamba_arguments
from model.kernels.native.moe import MoERule, MoEWeights, moe_arguments
from model.kernels.native.stack import KINDS, Layer

# Numbers of a head that is worth keeping transposed; the logits of a larger one are a product of the caller's.
_MOST_HEAD = 1 << 20
_Arguments = structure(
    "DecodeArguments",
    ints=("rows", "D", "V", "num_layers", "num_slots", "capacity"),
    reals=("eps",),
    pointers=("kinds", "layers", "tokens", "slots", "lengths", "embeddings", "norm", "head_t"),
    pointers1=("conv", "ssm", "keys", "values", "out", "experts"),
)


class NativeDecode:
    """The weights of one stack as the compiled step reads them: valid until a weight is changed."""

    def __init__(self, embeddings: Tensor, layers: Sequence[Layer], norm: Tensor, eps: float, head: Tensor) -> None:
        # Aliases, not the parameters: where a parameter is given other memory, what is read here must stay.
        weights = (embeddings, norm, head, *(part for layer in layers for part in layer[0]))
        self._held: list[Tensor] = [part.detach() for part in weights]
        self._structures = [self._layer(layer) for layer in layers]
        kinds = torch.tensor([KINDS[type(layer[0])] for layer in layers], dtype=torch.int64)
        pointers = torch.tensor([ctypes.addressof(part) for part in self._structures], dtype=torch.int64)
        self.dtype, self.has_head = embeddings.dtype, head.numel() <= _MOST_HEAD
        head_t = turned(head) if self.has_head else None
        self._held += [kinds, pointers, *(() if head_t is None else (head_t,))]
        self._arguments = _Arguments(
            D=len(norm),
            V=len(head),
            num_layers=len(layers),
            eps=eps,
            kinds=address(kinds),
            layers=address(pointers),
            embeddings=address(embeddings),
            norm=address(norm),
            head_t=address(head_t),
        )
        self._top_k = max((layer[1].top_k for layer in layers if isinstance(layer[1], MoERule)), default=0)
        self._num_moe = int((kinds == KINDS[MoEWeights]).sum())
        loaded = library(self.dtype)
        assert loaded is not None
        self._function = loaded.decode

    def _layer(self, layer: Layer) -> ctypes.Structure:
        if isinstance(layer[0], MambaWeights):
            structure, made = mamba_arguments(*layer, chunk_size=1)
        elif isinstance(layer[0], AttentionWeights):
            structure, made = attention_arguments(*layer)
        else:
            structure, made = moe_arguments(*layer)
        self._held += made
        return structure

    def step(
        self, tokens: Tensor, slots: Tensor, lengths: Tensor, buffers: tuple[Tensor, Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """tokens, slots and lengths [B] int64, the cache's conv, ssm, keys and values, updated in place.

        Returns logits [B, V], or, where the head is large, the normalised hidden states [B, D]; and the experts
        chosen [MoE layers, B, k]. The caller answers for tokens and slots within range and room for one more position.
        """
        # a copy, for another thread may be between filling its own in and the call
        arguments, rows = _Arguments.from_buffer_copy(self._arguments), len(tokens)
        conv, ssm, keys, values = buffers
        out = torch.empty(rows, arguments.V if self.has_head else arguments.D, dtype=self.dtype)
        experts = torch.empty(self._num_moe, rows, self._top_k, dtype=torch.int64)
        arguments.rows, arguments.num_slots, arguments.capacity = rows, keys.shape[1], keys.shape[3]
        arguments.tokens, arguments.slots, arguments.lengths = address(tokens), address(slots), address(lengths)
        arguments.conv, arguments.ssm = address(conv), address(ssm)
        arguments.keys, arguments.values = address(keys), address(values)
        arguments.out, arguments.experts = address(out), address(experts)
        self._function(ctypes.byref(arguments))
        return out, experts
