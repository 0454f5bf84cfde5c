"""Where the cases come from: every module cases_*.py in this folder that defines `cases(device, quick)`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import torch

from .case import Case


def all_cases(device: torch.device, quick: bool, only: str = "") -> Iterator[Case]:
    """The cases whose kernel's name contains `only`, one at a time: the tensors of one are gone before the next."""
    for path in sorted(Path(__file__).parent.glob("cases_*.py")):
        module = importlib.import_module(f"{__package__}.{path.stem}")
        yield from (case for case in module.cases(device, quick) if only in case.kernel)
