"""Embedding and output head cut by words over tensor-parallel processes; no process ever holds all logits of a token.

Each process runs the chunked log-probability kernel over its own words and knows, per token: the log of its mass
l_r = logsumexp of its logits, the entropy H_r of its own distribution, and the logit of the target if it is its own.
The rest is the grouping property of entropy (Shannon 1948, section 6), on three numbers per token and process:
    l = logsumexp_r l_r,   log p(y) = z_y - l,   H = sum_r e^{l_r - l} (H_r - (l_r - l)).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.kernels.logprob import linear_logprob
from model.parallel.collectives import add_up, copy_to, gather_same
from model.parallel.placement import share
from model.parallel.ranks import Peers


class _Words(nn.Module):
    """The rows of some of the words; weight [V_r, D]."""

    def __init__(self, vocab_size: int, size: int, tp: Peers, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.tp = tp
        self.first, last = share(vocab_size, tp.size, tp.rank)
        self.weight = nn.Parameter(torch.empty(last - self.first, size, device=device, dtype=dtype))

    def own(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """words [T] -> which are this process's [T] bool, and their rows [T] (0 for strangers)."""
        rows = words - self.first
        mine = (rows >= 0) & (rows < len(self.weight))
        return mine, torch.where(mine, rows, 0)


class VocabularyEmbedding(_Words):
    def forward(self, token_ids: Tensor) -> Tensor:
        """token_ids [T] -> [T, D], the same on all processes."""
        if self.tp.handle is None:
            return F.embedding(token_ids, self.weight)
        mine, rows = self.own(token_ids)
        return add_up(torch.where(mine[:, None], F.embedding(rows, self.weight), 0), self.tp)


class VocabularyHead(_Words):
    def forward(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """hidden [T, D], targets [T] int64 -> (logprobs [T], entropy [T]) in fp32 at least, the same on all."""
        if self.tp.handle is None:
            return linear_logprob(hidden, self.weight, targets)
        hidden = copy_to(hidden, self.tp)
        mine, rows = self.own(targets)
        logprobs, entropy = linear_logprob(hidden, self.weight, rows)
        target_logits = (hidden.to(logprobs.dtype) * F.embedding(rows, self.weight).to(logprobs.dtype)).sum(-1)
        known = torch.stack((target_logits - logprobs, entropy, torch.where(mine, target_logits, 0)))
        masses, entropies, picked = gather_same(known, self.tp).unbind(1)
        normaliser = masses.logsumexp(0)
        log_shares = masses - normaliser
        return picked.sum(0) - normaliser, (log_shares.exp() * (entropies - log_shares)).sum(0)
