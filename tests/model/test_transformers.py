"""transformers as the oracle: it reads what we write, computes the same logits, and we read what it writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model.checkpoint import checksum, load_pretrained, save_pretrained, state_tensors
from model.stack import HybridModel

pytestmark = pytest.mark.usefixtures("form")

transformers = pytest.importorskip("transformers", reason="the oracle, transformers, is not installed")
Build = Callable[..., HybridModel]
Pack = Callable[..., tuple[Tensor, Tensor]]

SHAPES: list[dict[str, Any]] = [
    {},
    {"hybrid_override_pattern": "MEM*EM", "n_groups": 1, "num_experts_per_tok": 3, "chunk_size": 16},
    {"norm_topk_prob": False, "num_key_value_heads": 4, "routed_scaling_factor": 1.0},
]


def oracle_of(folder: Path) -> Any:
    oracle, report = transformers.NemotronHForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not any(report.values()), report
    for layer in oracle.model.layers:
        if hasattr(layer.mixer, "time_step_limit"):
            # It clamps dt at 0.001 on this path and nowhere else; the model it describes does not.
            layer.mixer.time_step_limit = (0.0, float("inf"))
    return oracle.eval()


@pytest.mark.parametrize("overrides", SHAPES)
def test_logits_agree(build: Build, pack: Pack, tmp_path: Path, overrides: dict[str, Any]) -> None:
    model = build(**overrides)
    save_pretrained(model, tmp_path / "ours")
    oracle = oracle_of(tmp_path / "ours")
    lengths = [37, 8, 21]
    token_ids, bounds = pack(lengths)
    with torch.no_grad():
        ours = model.logits(model(token_ids, bounds)).split(lengths)
        for tokens, logits in zip(token_ids.split(lengths), ours, strict=True):
            expected = oracle(tokens[None]).logits[0]
            assert expected.std() > 0.3
            torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


def test_gradients_agree(build: Build, pack: Pack, tmp_path: Path) -> None:
    model = build()
    save_pretrained(model, tmp_path / "ours")
    oracle = oracle_of(tmp_path / "ours")
    token_ids, bounds = pack([40])
    model.token_logprobs(model(token_ids, bounds), token_ids.roll(-1))[0].mean().backward()
    table = oracle(token_ids[None]).logits[0].log_softmax(-1)
    table.gather(1, token_ids.roll(-1)[:, None]).mean().backward()
    pairs = {
        "embeddings": (model.embeddings.weight.grad, oracle.model.embeddings.weight.grad),
        "experts": (model.layers[1].mixer.experts.up_proj.grad, oracle.model.layers[1].mixer.experts.up_proj.grad),
        "gate": (model.layers[1].mixer.gate.weight.grad, oracle.model.layers[1].mixer.gate.weight.grad),
        "A_log": (model.layers[0].mixer.A_log.grad, oracle.model.layers[0].mixer.A_log.grad),
        "dt_bias": (model.layers[2].mixer.dt_bias.grad, oracle.model.layers[2].mixer.dt_bias.grad),
        "conv": (model.layers[0].mixer.conv1d.weight.grad.t(), oracle.model.layers[0].mixer.conv1d.weight.grad[:, 0]),
    }
    for name, (ours, expected) in pairs.items():
        assert (ours - expected).abs().max() <= 1e-4 * expected.abs().max(), name


def test_what_it_saves_we_read_bit_for_bit(build: Build, tmp_path: Path) -> None:
    model = build()
    save_pretrained(model, tmp_path / "ours")
    oracle_of(tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    back = load_pretrained(tmp_path / "theirs")
    assert checksum(state_tensors(back)) == checksum(state_tensors(model))
    assert back.config.hybrid_override_pattern == model.config.hybrid_override_pattern


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_loads_our_shards_in_either_dtype(build: Build, tmp_path: Path, dtype: torch.dtype) -> None:
    model = build(dtype)
    save_pretrained(model, tmp_path / "ours", max_shard_bytes=20_000)
    assert len(list((tmp_path / "ours").glob("model-*-of-*.safetensors"))) > 2
    oracle, report = transformers.NemotronHForCausalLM.from_pretrained(
        tmp_path / "ours", dtype=dtype, output_loading_info=True
    )
    assert not any(report.values()), report
    for layer, block in zip(oracle.model.layers, model.blocks(), strict=True):
        if block.kind == "E":
            assert torch.equal(layer.mixer.experts.down_proj, block.mixer.experts.down_proj.transpose(1, 2))
            bias = layer.mixer.gate.e_score_correction_bias
            assert bias.dtype == torch.float32 and torch.equal(bias, block.mixer.gate.e_score_correction_bias)
    oracle.save_pretrained(tmp_path / "theirs", max_shard_size="30KB")
    assert (tmp_path / "theirs" / "model.safetensors.index.json").is_file()
    back = load_pretrained(tmp_path / "theirs", dtype=None)
    assert back.dtype == dtype and checksum(state_tensors(back)) == checksum(state_tensors(model))
