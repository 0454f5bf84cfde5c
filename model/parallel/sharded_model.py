"""The model of one process in a layout: the layers of `model.layers` with fewer heads, units and words, joined by
collectives. Nothing in a layer knows of it; what differs is put in its place here.

    tp      projections become column- and row-parallel, embedding and head are cut by words
    ep      the block of routed experts becomes an ExpertShard
    cp      Mamba and attention mixers become their context forms, the layout a ContextLayout
    FSDP2   `parallelise` wraps blocks, experts, embedding and head
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from model.config import ATTENTION, MAMBA, HybridConfig
from model.kernels.norm import rms_norm
from model.layers.attention import AttentionMixer
from model.layers.block import Block
from model.layers.linear import RMSNorm
from model.layers.mamba import MambaMixer
from model.layers.moe import MoEMixer
from model.layout import PackedLayout
from model.parallel.collectives import gather_rows, total
from model.parallel.context_attention import ContextAttention
from model.parallel.context_layout import ContextLayout
from model.parallel.context_mamba import ContextMamba
from model.parallel.experts import ExpertShard
from model.parallel.linear import ColumnParallel, QKVParallel, RowParallel
from model.parallel.placement import Placement, placement, share
from model.parallel.ranks import Ranks
from model.parallel.vocabulary import VocabularyEmbedding, VocabularyHead
from model.recompute import layer_kinds, recomputed


class ShardedModel(nn.Module):
    """Parameters have the names of `HybridModel`; made on the meta device, filled by `parallelise` or `load_parallel`.

    A batch is what one data-parallel replica packs: token_ids [T], cu_seqlens [B+1], targets [T], the same on all its
    cp x tp processes. Each returns numbers for the tokens of its own stretch, `rows(T)` of them.
    """

    def __init__(self, config: HybridConfig, ranks: Ranks, dtype: torch.dtype) -> None:
        super().__init__()
        ranks.layout.require(config)
        self.config, self.ranks = config, ranks
        meta = torch.device("meta")
        self.embeddings = VocabularyEmbedding(config.vocab_size, config.hidden_size, ranks.tp, meta, dtype)
        self.layers = nn.ModuleList(
            self._block(index, kind, dtype) for index, kind in enumerate(config.hybrid_override_pattern)
        )
        self.norm_f = RMSNorm(config.hidden_size, meta, dtype)
        self.lm_head = VocabularyHead(config.vocab_size, config.hidden_size, ranks.tp, meta, dtype)
        self._recomputed_kinds: frozenset[str] = frozenset()

    @property
    def device(self) -> torch.device:
        return self.ranks.device

    @property
    def dtype(self) -> torch.dtype:
        return self.embeddings.weight.dtype

    def blocks(self) -> Iterator[Block]:
        for block in self.layers:
            assert isinstance(block, Block)
            yield block

    def moe_layers(self) -> Iterator[MoEMixer]:
        return (block.mixer for block in self.blocks() if isinstance(block.mixer, MoEMixer))

    def placement(self, name: str, tp_rank: int | None = None, ep_rank: int | None = None) -> Placement:
        """What this process, or the one of the given ranks, holds of a parameter before FSDP2."""
        own_tp, own_ep = self.ranks.tp.rank, self.ranks.ep.rank
        tp_rank, ep_rank = own_tp if tp_rank is None else tp_rank, own_ep if ep_rank is None else ep_rank
        return placement(name, self.config, self.ranks.layout, tp_rank, ep_rank)

    def forward(
        self,
        token_ids: Tensor,
        cu_seqlens: Tensor,
        targets: Tensor,
        counted: Tensor | None = None,
        temperature: float = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """-> (logprobs, entropy) of the targets of this process's stretch, fp32 at least, at `temperature`.

        counted [T] bool: the tokens that enter the expert counts (None: all). The loss is the sum over the own stretch
        divided by `normaliser`; its gradients are then those of the whole batch, summed over all processes.
        """
        if targets.shape != token_ids.shape or (counted is not None and counted.shape != token_ids.shape):
            raise ValueError(f"targets and counted must be as long as token_ids, {len(token_ids)} tokens")
        layout = self.layout(token_ids, cu_seqlens)
        rows = self.rows(len(token_ids))
        counted = None if counted is None else counted[rows]
        hidden: Tensor = self.embeddings(token_ids[rows])
        for block in self.blocks():
            if block.kind in self._recomputed_kinds and torch.is_grad_enabled():
                hidden = recomputed(block, hidden, layout, counted)
            else:
                hidden = block(hidden, layout, counted)
        hidden = rms_norm(hidden, self.norm_f.weight, self.config.layer_norm_epsilon)
        if temperature != 1.0:
            hidden = hidden / temperature  # the head is linear: scaling its input is scaling the logits
        scores: tuple[Tensor, Tensor] = self.lm_head(hidden, targets[rows])
        return scores

    def recompute(self, letters: str) -> None:
        """As `HybridModel.recompute`; collectives of these layers run again in backward."""
        self._recomputed_kinds = layer_kinds(letters)

    def layout(self, token_ids: Tensor, cu_seqlens: Tensor) -> PackedLayout:
        """The index maps of this process's stretch. Raises ValueError when the two do not fit, or T is too small."""
        if token_ids.dim() != 1 or int(cu_seqlens[-1]) != len(token_ids):
            raise ValueError(f"cu_seqlens ends at {int(cu_seqlens[-1])}, token_ids are {tuple(token_ids.shape)}")
        chunk, width = self.config.chunk_size, self.config.conv_kernel
        if self.ranks.cp.size == 1:
            return PackedLayout(cu_seqlens, chunk, width, len(token_ids), token_ids.device)
        return ContextLayout(cu_seqlens, chunk, width, self.ranks.cp, token_ids.device)

    def rows(self, num_tokens: int) -> slice:
        """The stretch of a batch of T tokens that this process computes."""
        return slice(*share(num_tokens, self.ranks.cp.size, self.ranks.cp.rank))

    def whole(self, values: Tensor, num_tokens: int) -> Tensor:
        """values [T_r, ...] of each stretch -> [T, ...], for losses over whole sequences.

        Every process of the replica must compute the same loss from it, and count it once: not divided by cp.
        """
        cp = self.ranks.cp
        sizes = [last - first for first, last in (share(num_tokens, cp.size, rank) for rank in range(cp.size))]
        return gather_rows(values, sizes, cp, same=True)

    def normaliser(self, own: Tensor) -> Tensor:
        """The sum of `own` (trainable tokens of the own stretch, or any number of it) over all token ranks."""
        return total(own.to(self.device), self.ranks.data)

    def freeze_router(self) -> None:
        """Stop training every gate; gradients still pass through the scores."""
        for mixer in self.moe_layers():
            mixer.freeze_router()

    @torch.no_grad()
    def update_expert_bias(self, rate: float) -> None:
        """Move every selection bias by the sign rule on the counts of the global batch; the counts start again."""
        mixers = list(self.moe_layers())
        if not mixers:
            return
        counts = total(torch.stack([mixer.expert_counts for mixer in mixers]), self.ranks.data)
        for mixer, summed in zip(mixers, counts, strict=True):
            mixer.expert_counts.copy_(summed)
            mixer.update_expert_bias(rate)

    def _block(self, index: int, kind: str, dtype: torch.dtype) -> Block:
        ranks, meta = self.ranks, torch.device("meta")
        config = _own_heads(self.config, ranks.layout.tp)
        block = Block(kind, config, meta, dtype)
        if ranks.cp.size > 1 and kind == MAMBA:
            block.mixer = ContextMamba(config, meta, dtype)
        if ranks.cp.size > 1 and kind == ATTENTION:
            block.mixer = ContextAttention(config, meta, dtype)
        prefix = f"layers.{index}.mixer"
        if isinstance(block.mixer, MoEMixer):
            shape = self.placement(f"{prefix}.experts.up_proj").shape(_experts_shape(self.config))
            shard = ExpertShard(shape, self.config.n_routed_experts, ranks.ep, ranks.tp, meta, dtype)
            block.mixer.experts = shard  # type: ignore[assignment]  # called alike
        if ranks.tp.size > 1:
            self._cut_projections(block.mixer, prefix)
        return block

    def _cut_projections(self, mixer: nn.Module, prefix: str) -> None:
        """Alone, plain layers stay: they add the residual inside the product."""
        tp = self.ranks.tp
        if isinstance(mixer, MambaMixer):
            mixer.in_proj = ColumnParallel(mixer.in_proj, tp)
            mixer.out_proj = RowParallel(mixer.out_proj, tp)
        elif isinstance(mixer, AttentionMixer):
            held = self.placement(f"{prefix}.qkv_proj.weight")
            mixer.qkv_proj = QKVParallel(mixer.qkv_proj, tp, held, self.config.qkv_size)
            mixer.o_proj = RowParallel(mixer.o_proj, tp)
        else:
            assert isinstance(mixer, MoEMixer)
            shared = mixer.shared_experts
            shared.up_proj = ColumnParallel(shared.up_proj, tp)
            shared.down_proj = RowParallel(shared.down_proj, tp)


def _own_heads(config: HybridConfig, tp: int) -> HybridConfig:
    """The configuration of the layers of one tensor-parallel process."""
    return replace(
        config,
        mamba_num_heads=config.mamba_num_heads // tp,
        n_groups=config.n_groups // tp,
        num_attention_heads=config.num_attention_heads // tp,
        num_key_value_heads=max(1, config.num_key_value_heads // tp),
        moe_shared_expert_intermediate_size=config.moe_shared_expert_intermediate_size // tp,
    )


def _experts_shape(config: HybridConfig) -> tuple[int, int, int]:
    return config.n_routed_experts, config.moe_intermediate_size, config.hidden_size
