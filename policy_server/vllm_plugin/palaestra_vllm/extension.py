"""What a worker answers about the weights it serves, beyond what vLLM tells (`--worker-extension-cls`).

vLLM fuses, packs and derives what it loads; its own checksums are of what is left. Here every released tensor is read
back from where the computation takes it, compared with the file it came from, and told by its released name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .files import checksum, tensors_of
from .readback import Served


class ServedWeights:
    """Mixed into vLLM's worker; `self.model_runner` is the worker's."""

    model_runner: Any

    def palaestra_checksums(self, path: str) -> dict[str, str]:
        """{released name: checksum of what is served}, for every tensor of the file or folder.

        Where a tensor is served exactly as the file has it (in the served dtype) the file's checksum stands for it;
        everything else has the checksum of what was found. A tensor that vLLM serves and the file lacks is listed too.
        """
        served = Served(self.model_runner.get_model())
        told: dict[str, str] = {}
        for name, expected in tensors_of(Path(path)):
            found = served.read(name)
            if found is None:
                told[name] = "absent"
                continue
            told[name] = checksum(expected if _same(name, expected, found) else found)
        told |= {name: "not published" for name in served.unread()}
        return told


def _same(name: str, expected: Tensor, found: Tensor) -> bool:
    """Bit-equal, after the rounding that serving in another dtype asks for; the router's bias is never rounded."""
    if name.endswith(".A_log"):  # served as -exp(A_log)
        return bool(torch.equal(found, -expected.to(found.device).float().exp()))
    if name.endswith("e_score_correction_bias") and found.dtype != expected.dtype:
        return False
    return found.shape == expected.shape and bool(torch.equal(found, expected.to(found)))
