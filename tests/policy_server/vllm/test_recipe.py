"""How vLLM is started: flags and environment for a CPU and for GPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from gym_core.errors import BadRequest
from policy_server.config import PolicyConfig
from policy_server.vllm.recipe import command, environment, install_folder, interpreter

BASE = PolicyConfig(backend="vllm", checkpoint="/models/x", max_length=100, num_slots=7)


def flags(config: PolicyConfig) -> dict[str, str]:
    words = command(config, Path("python"), 5)
    return {word: words[at + 1] if at + 1 < len(words) else "" for at, word in enumerate(words)}


def test_on_a_cpu_the_fast_recipe() -> None:
    told = flags(BASE)
    assert told["-m"] == "palaestra_vllm.serve"
    assert told["--max-model-len"] == "101"  # a sequence of the full length can be scored
    assert told["--max-num-seqs"] == "7"
    assert told["--kv-cache-memory-bytes"] == str(64 << 20)
    assert told["--distributed-executor-backend"] == "uni"
    assert {"--enforce-eager", "--enable-scale-out"} <= told.keys()
    environ = environment(BASE, {"PYTHONPATH": "ours", "HOME": "h"})
    assert environ["TORCH_COMPILE_DISABLE"] == environ["OMP_NUM_THREADS"] == environ["VLLM_SERVER_DEV_MODE"] == "1"
    assert environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert environ["HOME"] == "h"
    assert "PYTHONPATH" not in environ


def test_on_a_gpu_graphs_and_processes_are_vllms_own() -> None:
    config = PolicyConfig(
        backend="vllm", device="cuda:2", dtype="bfloat16", cache_mb=1000, vllm_args="-tp 1 --seed '3'"
    )
    told = flags(config)
    assert "--enforce-eager" not in told
    assert "--distributed-executor-backend" not in told
    assert told["--kv-cache-memory-bytes"] == str(1000 << 20)
    assert command(config, Path("python"), 5)[-4:] == ["-tp", "1", "--seed", "3"]
    environ = environment(config, {})
    assert environ["CUDA_VISIBLE_DEVICES"] == "2"
    assert "TORCH_COMPILE_DISABLE" not in environ
    assert "OMP_NUM_THREADS" not in environ
    assert environ["VLLM_USE_V2_MODEL_RUNNER"] == "0"


def test_a_missing_vllm_names_the_command_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("PALAESTRA_VLLM_PYTHON", raising=False)
    with pytest.raises(BadRequest, match="no vLLM") as caught:
        interpreter(PolicyConfig(device="cuda:1"))
    assert caught.value.field == "vllm_python"
    assert "install_vllm.py --device cuda" in caught.value.hint
    python = install_folder("cpu") / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert interpreter(BASE) == python
    assert install_folder("cpu") == tmp_path / "palaestra" / "vllm" / "cpu"
