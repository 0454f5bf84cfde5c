"""The GPU benchmark says when it measured nothing, and its arithmetic is that of its text."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from model.config import HybridConfig

PATH = Path(__file__).resolve().parents[2] / "bench" / "gpu_step.py"


@pytest.fixture(scope="module")
def bench() -> Any:
    spec = importlib.util.spec_from_file_location("gpu_step", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_a_gpu_it_says_so(bench: Any, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_step.py", "--json"])
    bench.main()
    assert json.loads(capsys.readouterr().out) == {"not_run": "not run: no GPU (torch sees no CUDA device)"}


def test_every_layer_is_counted_as_often_as_the_full_model_has_it(bench: Any) -> None:
    """The published pattern: 23 M, 23 E, 6 *: 100 + 22 · 3 + 22 · 5 + 5 · 2 = 286 ms, 10 + 22 + 44 + 15 = 91 B."""
    cost = bench.Cost
    costs = {"ME*": cost(100, 10), "ME*M": cost(103, 11), "ME*E": cost(105, 12), "ME**": cost(102, 13)}
    found = bench.scaled(HybridConfig.nano(), costs, [2048] * 4, 1e15)
    assert {kind: row["count"] for kind, row in found["layers"].items()} == {"M": 23, "E": 23, "*": 6}
    assert (found["full_depth"]["ms"], found["full_depth"]["peak_bytes"]) == (286, 91)
    assert found["truncated"]["ms"] == 100
    assert "MFU" in bench.table(found | {"device": "a GPU"})


def test_flops_of_a_step(bench: Any) -> None:
    """One attention layer of 4 heads of 16: 6 · (active + 64 · n) for each of n tokens."""
    config = HybridConfig.tiny(100)
    active = config.count_parameters().active
    assert bench.step_flops(config, [10, 20]) == 6 * (30 * active + 64 * (10 * 10 + 20 * 20))
    assert bench.mfu(config, [10], 2.0, 1e9) == pytest.approx(6 * (10 * active + 6400) / 2e6)
