"""A packed batch cut into stretches of neighbouring tokens, one per context-parallel process.

A stretch may begin inside a sequence and end inside another. Its own pieces of sequences are a packed batch again, so
every kernel works as it is; what reaches over a border is added here and by the two context mixers.
"""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from model.layout import PackedLayout
from model.parallel.collectives import gather
from model.parallel.placement import share
from model.parallel.ranks import Peers


class ContextLayout(PackedLayout):
    """The pieces in this process's stretch of a batch whose global borders are cu_seqlens [B+1].

    sizes: tokens of each stretch. first: where this one begins. before: tokens of the first piece's sequence that lie
    in earlier stretches (0: it begins here). passes_on[r]: stretch r lies inside one sequence that began earlier.
    """

    def __init__(self, cu_seqlens: Tensor, chunk_size: int, conv_kernel: int, cp: Peers, device: torch.device) -> None:
        PackedLayout(cu_seqlens, chunk_size, conv_kernel)  # refuses borders that describe no batch
        bounds = cu_seqlens.detach().to("cpu", torch.int64)
        num_tokens = int(bounds[-1])
        if num_tokens < cp.size * max(1, conv_kernel - 1):
            raise ValueError(
                f"{num_tokens} tokens cannot be cut into {cp.size} stretches of at least conv_kernel - 1 = "
                f"{conv_kernel - 1} tokens; pack more tokens, or choose a smaller cp"
            )
        stretches = [share(num_tokens, cp.size, rank) for rank in range(cp.size)]
        self.cp = cp
        self.sizes = [last - first for first, last in stretches]
        self.first, last = stretches[cp.rank]
        self.before = self.first - int(bounds[bounds <= self.first].max())
        self.passes_on = [
            begin not in bounds and not bool(((bounds > begin) & (bounds < end)).any()) for begin, end in stretches
        ]
        inside = bounds[(bounds > self.first) & (bounds < last)] - self.first
        pieces = torch.cat((inside.new_zeros(1), inside, inside.new_full((1,), last - self.first)))
        super().__init__(pieces, chunk_size, conv_kernel, last - self.first, device)

    @property
    def rows(self) -> slice:
        """This stretch of the packed batch."""
        return slice(self.first, self.first + self.num_tokens)

    @property
    def first_length(self) -> int:
        """Tokens of the first piece."""
        return int(self.lengths[0])

    @cached_property
    def after_first(self) -> PackedLayout | None:
        """The pieces after the first one, which look over no border, as a batch; None where there are none."""
        if self.num_sequences == 1:
            return None
        bounds = torch.cat((self.starts[1:], self.starts.new_full((1,), self.num_tokens))) - self.first_length
        return PackedLayout(bounds, self.chunk_size, self.conv_kernel, device=self.device)

    def halo(self, x: Tensor) -> Tensor:
        """x [T_r, C] -> the K-1 rows before each piece [B, K-1, C]: zeros but where the stretch cuts a sequence."""
        width = self.conv_kernel - 1
        tails = gather(x[-width:], self.cp)
        age = torch.arange(width, 0, -1, device=x.device)[:, None]
        first = torch.where(age <= self.before, tails[self.cp.rank - 1], 0)
        return torch.cat((first[None], x.new_zeros(self.num_sequences - 1, *first.shape)))

    def incoming(self, states: Tensor, decays: Tensor) -> Tensor:
        """What each stretch leaves behind, started from nothing -> the state that this one starts from.

        states [cp, ...], decays [cp, ...] (broadcast against it): H_r = decay_{r-1} H_{r-1} + state_{r-1}, begun
        anew after every stretch that does not lie inside one sequence.
        """
        ranks = range(self.cp.rank)
        begin = next(rank for rank in reversed(ranks) if not self.passes_on[rank])
        return list(accumulate(ranks[begin + 1 :], lambda h, q: decays[q] * h + states[q], initial=states[begin]))[-1]
