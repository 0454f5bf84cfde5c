"""The hybrid model: embeddings, one mixer per layer, final norm, output head; training, prefill and decoding forms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import decode_graph
from model.cache import StateCache
from model.config import HybridConfig
from model.decode import DecodePlan
from model.initialise import initialise
from model.kernels.logprob import linear_logprob
from model.kernels.native.library import library
from model.kernels.norm import rms_norm
from model.layers import native
from model.layers.block import Block
from model.layers.linear import Linear, RMSNorm
from model.layers.moe import MoEMixer
from model.layout import PackedLayout
from model.prefill import pieces, prefill
from model.recompute import layer_kinds, recomputed


class HybridModel(nn.Module):
    """Sequences are packed one after another: token_ids [T] with cu_seqlens [B+1], no padding anywhere.

    Hidden states are those after the final norm, ready for the output head. Weights are drawn from `seed`, or from
    `generator` when given; on the meta device nothing is drawn. Selection biases stay fp32 in every dtype.
    """

    def __init__(
        self,
        config: HybridConfig,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        *,
        seed: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        place = None if device is None else torch.device(device)
        with torch.inference_mode(False):
            self.embeddings = Linear(config.hidden_size, config.vocab_size, place, dtype)
            self.layers = nn.ModuleList(Block(kind, config, place, dtype) for kind in config.hybrid_override_pattern)
            self.norm_f = RMSNorm(config.hidden_size, place, dtype)
            self.lm_head = Linear(config.hidden_size, config.vocab_size, place, dtype)
            if self.device.type != "meta":
                initialise(self, config, generator or torch.Generator().manual_seed(seed))
        if self.device.type == "cpu":
            library(dtype)  # compiled now if need be, not under the first request
        self._decode_plan: DecodePlan | None = None
        self._decode_graphs: decode_graph.DecodeGraphs | None = None
        self._recomputed_kinds: frozenset[str] = frozenset()

    @property
    def device(self) -> torch.device:
        return self.embeddings.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.embeddings.weight.dtype

    def blocks(self) -> Iterator[Block]:
        for block in self.layers:
            assert isinstance(block, Block)
            yield block

    def moe_layers(self) -> Iterator[MoEMixer]:
        return (block.mixer for block in self.blocks() if isinstance(block.mixer, MoEMixer))

    def forward(self, token_ids: Tensor, cu_seqlens: Tensor, counted: Tensor | None = None) -> Tensor:
        """token_ids [T] int64, cu_seqlens [B+1] -> hidden [T, D].

        counted [T] bool: the tokens that enter the expert counts (None: all); counts are kept only while training
        with gradients. Raises ValueError when cu_seqlens does not describe token_ids.
        """
        layout = self.layout(token_ids, cu_seqlens)
        hidden = self.embed(token_ids)
        blocks = list(self.blocks())
        if not self._recomputed_kinds and native.takes_all(hidden, blocks, layout):
            return self.final_norm(native.forward_all(hidden, blocks, layout, counted))
        for block in blocks:
            if block.kind in self._recomputed_kinds and torch.is_grad_enabled():
                hidden = recomputed(block, hidden, layout, counted)
            else:
                hidden = block(hidden, layout, counted)
        return self.final_norm(hidden)

    def recompute(self, letters: str) -> None:
        """Trade time for memory in training: layers of these kinds ("ME", "" for none) are computed again in backward.

        Gradients and expert counts stay the same to the bit. Raises ValueError for a letter that names no kind.
        """
        self._recomputed_kinds = layer_kinds(letters)

    def token_logprobs(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """hidden [T, D], targets [T] int64 -> (logprobs [T], entropy [T]) in fp32, a chunk of logits at a time."""
        return linear_logprob(hidden, self.lm_head.weight, targets)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] -> [..., V] in fp32 at least."""
        logits: Tensor = self.lm_head(hidden.reshape(-1, hidden.shape[-1])).view(*hidden.shape[:-1], -1)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    @torch.no_grad()
    def prefill(
        self,
        token_ids: Tensor,
        cu_seqlens: Tensor,
        cache: StateCache,
        slots: Sequence[int] | Tensor,
        all_hidden: bool = False,
    ) -> Tensor:
        """Read token_ids [T], sequence b into slots[b] after whatever that slot already holds.

        Returns the hidden state of each sequence's last token [B, D], or with all_hidden of every token [T, D].
        Raises ValueError for bad slots or when a sequence would outgrow the cache; the cache is then unchanged.
        """
        layout = self.layout(token_ids, cu_seqlens)
        hidden = prefill(self.blocks(), self.embed(token_ids), layout, cache, slots)
        return self.final_norm(hidden if all_hidden else hidden[layout.last_rows])

    def prefill_long(self, token_ids: Tensor, cache: StateCache, slot: int, piece: int | None = None) -> Tensor:
        """Read one long sequence [T] in pieces, in memory that does not grow with it beyond the cache.

        Pieces end at multiples of `piece` tokens of the sequence (default: the chunk size; a multiple of it is faster),
        so that reading it in several calls that break at such multiples gives the same bits as reading it in one.
        Returns the hidden state of the last token [D]. Raises as `prefill`, before anything is read.
        """
        size = self.config.chunk_size if piece is None else piece
        if size < 1 or size % self.config.chunk_size:
            raise ValueError(f"piece must be a multiple of the chunk size {self.config.chunk_size}, got {size}")
        if token_ids.dim() != 1 or not len(token_ids):
            raise ValueError(f"token_ids must be one sequence of at least one token, got {tuple(token_ids.shape)}")
        cache.slot_index([slot])
        seen = int(cache.lengths[slot])
        cache.reserve(seen + len(token_ids))
        for first, last in pieces(seen, len(token_ids), size):
            part = token_ids[first:last]
            hidden = self.prefill(part, torch.tensor([0, len(part)]), cache, [slot])
        return hidden[0]

    @torch.inference_mode()
    def decode(self, token_ids: Tensor, cache: StateCache, slots: Sequence[int] | Tensor) -> Tensor:
        """One more token for each slot: token_ids [B] -> logits [B, V] of the next token, in fp32 at least.

        A run of consecutive slots is fastest: its states are then updated where they lie.
        """
        if decode_graph.wanted(cache) and len(token_ids):
            index = cache.slot_index(slots)
            if token_ids.shape == index.shape and (graphs := self._graphs()).serves():
                logits = graphs.step(token_ids, cache, index)
                if logits is not None:
                    return logits
        if self._decode_plan is None or not self._decode_plan.is_current():
            self._decode_plan = DecodePlan(self.config, self.embeddings, list(self.blocks()), self.norm_f, self.lm_head)
        return self._decode_plan.step(token_ids, cache, slots)

    def _graphs(self) -> decode_graph.DecodeGraphs:
        """The captured steps; whose memory they name they watch themselves."""
        if self._decode_graphs is None:
            ends, eps = (self.norm_f, self.lm_head), self.config.layer_norm_epsilon
            self._decode_graphs = decode_graph.DecodeGraphs(self.embeddings, list(self.blocks()), *ends, eps)
        return self._decode_graphs

    def forget_plan(self) -> None:
        """Parameters were given other memory, which `decode` does not see by itself: join the weights again."""
        self._decode_plan = self._decode_graphs = None

    def layout(self, token_ids: Tensor, cu_seqlens: Tensor) -> PackedLayout:
        """The index maps of these sequences."""
        if token_ids.dim() != 1:
            raise ValueError(f"token_ids must be packed to one dimension, got shape {tuple(token_ids.shape)}")
        config = self.config
        return PackedLayout(cu_seqlens, config.chunk_size, config.conv_kernel, len(token_ids), token_ids.device)

    def embed(self, token_ids: Tensor) -> Tensor:
        return F.embedding(token_ids, self.embeddings.weight)

    def final_norm(self, hidden: Tensor) -> Tensor:
        return rms_norm(hidden, self.norm_f.weight, self.config.layer_norm_epsilon)

    def freeze_router(self) -> None:
        """Stop training every gate; gradients still pass through the scores."""
        for mixer in self.moe_layers():
            mixer.freeze_router()

    def update_expert_bias(self, rate: float) -> None:
        """Move every selection bias by the sign rule and start the counts again."""
        for mixer in self.moe_layers():
            mixer.update_expert_bias(rate)
