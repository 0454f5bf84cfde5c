"""Run by every rank: one of them fails in the middle of a step; the others say how they noticed, and when."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import torch
from torch import Tensor

from model.config import HybridConfig
from model.parallel.layout import Layout
from model.parallel.parallelise import parallelise
from model.parallel.ranks import arrange, member
from model.stack import HybridModel


def fail(how: str) -> None:
    if how == "raises":
        raise ValueError("a bad batch")
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


def main(rank: int, world: int, init: str, how: str, culprit: int, timeout_s: float) -> dict[str, Any]:
    torch.set_num_threads(1)
    model = HybridModel(HybridConfig.tiny(32, hybrid_override_pattern="ME", n_groups=2))
    noticed_from = 0.0
    try:
        with member(rank, world, init, timeout_s=timeout_s):
            sharded = parallelise(model, arrange(Layout(dp=world // 2, tp=2)))

            def strike(module: object, given: tuple[Tensor, ...]) -> None:
                if rank == culprit:
                    fail(how)

            sharded.layers[1].register_forward_pre_hook(strike)
            token_ids = torch.arange(20)
            noticed_from = time.monotonic()
            sharded(token_ids, torch.tensor([0, 20]), token_ids)[0].sum().backward()
    except (RuntimeError, ValueError) as error:
        return {"error": type(error).__name__, "said": str(error), "after_s": time.monotonic() - noticed_from}
    return {"error": None}
