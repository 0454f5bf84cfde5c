"""`palaestra model`: published counts, overrides, conversion, timing, and errors a newcomer can act on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from gym_core.errors import BadRequest, PalaestraError, UnknownName
from model.checkpoint import checksum, load_pretrained, save_pretrained, state_tensors
from model.config import HybridConfig
from model.kernels.native import build
from model.stack import HybridModel
from palaestra.commands.model import command


def run(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def told(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments, "--json"))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    save_pretrained(
        HybridModel(HybridConfig.tiny(64), dtype=torch.bfloat16),
        tmp_path / "model",
        also=lambda fresh: (fresh / "tokenizer.json").write_text("{}") and None,
    )
    return tmp_path / "model"


def test_the_published_model() -> None:
    found = told("info", "nano")
    assert found["parameters"] == 31_577_937_344
    assert found["parameters_active"] == 3_227_751_872
    assert found["parameters_active_with_embeddings"] == 3_580_073_408
    assert round(found["fp8_bytes"] / 1e9, 2) == 32.68 and found["fp8_excluded_modules"] == 60
    assert found["pattern"] == "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"
    assert found["tensors"] == 6243
    million = found["memory_at_length"][-1]
    assert million == {
        "tokens": 2**20,
        "bf16_bytes": 49_082_368 + 6144 * 2**20,
        "fp8_kv_bytes": 49_082_368 + 3072 * 2**20,
    }


def test_other_shapes_are_counted_anew() -> None:
    fewer = told("info", "nano", "--set", "n_routed_experts=64")
    assert 31_577_937_344 - fewer["parameters"] == 23 * 64 * (9_977_856 + 2688)
    assert fewer["tensors"] == 6243 - 23 * 128
    short = told("info", "nano", "--set", "hybrid_override_pattern=ME*", "--set", "eos_token_id=[2, 11]")
    assert short["layers"] == {"M": 1, "E": 1, "*": 1}


def test_people_get_tables() -> None:
    shown = run("info", "nano")
    for part in ("31,577,937,344", "3.228B", "3.580B", "32.68 GB", "46.8 MiB", "MEMEM*E", "1,048,576"):
        assert part in shown


def test_a_checkpoint_is_described(folder: Path) -> None:
    found = told("info", str(folder))
    tensors = dict(state_tensors(load_pretrained(folder)))
    assert found["parameters"] == HybridConfig.tiny(64).count_parameters().total
    assert found["stored"]["tensors"] == found["tensors"] == len(tensors)
    assert found["stored"]["tensors_by_dtype"] == {"BF16": len(tensors) - 3, "F32": 3}
    assert found["stored"]["bytes"] == found["bf16_bytes"]
    assert "BF16" in run("info", str(folder))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("nothing",), UnknownName, "neither a folder nor a known model"),
        (("nano", "--set", "n_routed_expert=64"), BadRequest, "no field 'n_routed_expert'"),
        (("nano", "--set", "n_routed_experts=2"), BadRequest, "num_experts_per_tok 6 exceeds n_routed_experts 2"),
        (("nano", "--set", "hidden_size=wide"), BadRequest, "hidden_size must be a positive integer"),
    ],
)
def test_errors_name_what_is_wrong(arguments: tuple[str, ...], error: type[PalaestraError], message: str) -> None:
    with pytest.raises(error, match=message):
        run("info", *arguments)


def test_compile_says_what_it_made_and_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpp").mkdir()
    (tmp_path / "cpp" / "small.cpp").write_text('extern "C" REAL twice(REAL x) { return 2 * x; }\n')
    monkeypatch.setattr(build, "SOURCES", tmp_path / "cpp")
    monkeypatch.setenv("PALAESTRA_NATIVE_CACHE", str(tmp_path / "cache"))
    assert str(tmp_path / "cache") in run("compile")
    lines = run("compile", "--into", str(tmp_path / "made")).splitlines()
    assert {Path(line.split()[0]) for line in lines} == set((tmp_path / "made").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(BadRequest, match="file/below cannot be written: Not a directory") as caught:
        run("compile", "--into", str(tmp_path / "file" / "below"))
    assert caught.value.field == "into"
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    build.compiler.cache_clear()
    try:
        with pytest.raises(BadRequest, match=r"no C\+\+ compiler found"):
            run("compile")
    finally:
        build.compiler.cache_clear()


def test_a_broken_checkpoint_is_one_error(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"abc")
    with pytest.raises(BadRequest, match=r"model\.safetensors is not a readable"):
        run("info", str(folder))


def test_convert_keeps_what_it_is_not_asked_to_change(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    result = told("convert", str(folder), str(target), "--max-shard-gb", "0.0001")
    assert result["files"] > 1 and (target / "tokenizer.json").read_text() == "{}"
    before, after = (load_pretrained(path, dtype=None) for path in (folder, target))
    assert after.dtype == torch.bfloat16
    assert checksum(state_tensors(after)) == checksum(state_tensors(before))


def test_convert_to_another_dtype(folder: Path, tmp_path: Path) -> None:
    told("convert", str(folder), str(tmp_path / "wide"), "--dtype", "float32")
    wide = load_pretrained(tmp_path / "wide", dtype=None)
    assert wide.dtype == torch.float32
    assert checksum(state_tensors(wide)) == checksum(state_tensors(load_pretrained(folder)))
    assert json.loads((tmp_path / "wide" / "config.json").read_text())["torch_dtype"] == "float32"


def test_convert_never_replaces_something_else(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("one")
    with pytest.raises(BadRequest, match="not a checkpoint"):
        run("convert", str(folder), str(tmp_path / "thesis"))
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "one"


def test_bench_times_every_kind_of_work(folder: Path) -> None:
    before = torch.get_num_threads()
    try:
        found = told("bench", str(folder), "--seconds", "0", "--length", "8")
    finally:
        torch.set_num_threads(before)
    names = [row["what"] for row in found["rows"]]
    assert names == ["train step, 16 x 8", "prefill, 4 x 8", "decode, batch 1", "decode, batch 16", "decode, batch 64"]
    assert all(row["ms"] > 0 and row["tokens_per_s"] > 0 for row in found["rows"])


def test_chat_is_reached_through_the_group() -> None:
    assert "Talk to the policy" in run("chat", "--help")
