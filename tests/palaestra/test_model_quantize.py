"""`palaestra model quantize` as a user meets it: a checkpoint in FP8, a table of its cost, errors with a way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from model.checkpoint import load_pretrained, save_pretrained
from model.config import HybridConfig
from model.quantise.checkpoint import load_quantised
from model.stack import HybridModel
from palaestra.commands.model import command


@pytest.fixture
def source(tmp_path: Path) -> Path:
    small = dict(hidden_size=32, hybrid_override_pattern="M*EM", n_routed_experts=4, ssm_state_size=8, chunk_size=8)
    model = HybridModel(HybridConfig.tiny(64, **small), seed=1)
    save_pretrained(model, tmp_path / "source", lambda folder: (folder / "tokenizer.json").write_text("{}") and None)
    return tmp_path / "source"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(command, ["quantize", *map(str, arguments)])


def as_json(*arguments: object) -> dict[str, Any]:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_on_the_models_own_text(source: Path, tmp_path: Path) -> None:
    found = as_json(source, tmp_path / "q", "--samples", 3, "--length", 12)
    # M* EM: the second Mamba layer, four experts, the shared one
    assert (found["samples"], found["tokens"], found["fp8_linears"]) == (3, 36, 2 + 2 * 4 + 2)
    assert found["excluded"] == 1 + 2 + 4 + 2 and found["kv_cache"] == "fp8"
    ids, bounds = torch.arange(9), torch.tensor([0, 9])
    with torch.no_grad():
        plain, quantised = (m.eval()(ids, bounds) for m in (load_pretrained(source), load_quantised(tmp_path / "q")))
    assert 0 < (plain - quantised).norm() < 0.3 * plain.norm()
    assert (tmp_path / "q/tokenizer.json").read_text() == "{}"


def test_on_a_file_without_a_quantised_cache(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_text('{"token_ids": [3, 4, 5]}\n' * 4)
    found = as_json(source, tmp_path / "q", "--calibration", file, "--samples", 2, "--no-kv-cache")
    assert (found["samples"], found["tokens"], found["kv_cache"]) == (2, 6, "float32")


def test_the_sweep_as_numbers_and_as_a_table(source: Path) -> None:
    arguments = (source, "--sweep", "--samples", 2, "--length", 10)
    rows = as_json(*arguments)["sweep"]
    assert {"mamba", "attention", "experts", "lm_head", "the rule", "everything"} <= {row["quantised"] for row in rows}
    assert all(row["kl_mean"] >= 0 for row in rows)
    shown = call(*arguments).output
    assert "the rule" in shown and "same top" in shown and "nats per token" in shown
    assert "100.0%" in shown


def test_without_target_or_sweep_nothing_can_be_done(source: Path) -> None:
    result = call(source)
    assert result.exit_code == 2 and "give TARGET" in result.output


def test_faults_are_told_and_leave_nothing_behind(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_text('{"token_ids": [3, 400]}\n')
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    for arguments, told in (
        ((source, tmp_path / "q", "--calibration", file), "sample 1 has tokens 3..400"),
        ((source, tmp_path / "mine", "--samples", 1, "--length", 4), "is not a checkpoint"),
        ((tmp_path / "mine", tmp_path / "q"), "holds no checkpoint"),
    ):
        result = call(*arguments)
        assert result.exit_code != 0
        assert told in str(result.exception)
    assert not (tmp_path / "q").exists() and (tmp_path / "mine/letter.txt").read_text() == "dear"
