"""How vLLM is started: its interpreter, its flags and its environment, on a CPU and on GPUs.

What each flag is for is said beside it; measured starts are in docs/serving.md.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from gym_core.errors import BadRequest
from policy_server.config import PolicyConfig

CPU_KV_BYTES = 64 << 20
"""Keys and values on a CPU unless `cache_mb` says otherwise; an explicit size also skips the warm-up pass."""

_CPU_ENVIRONMENT = {
    "TORCH_COMPILE_DISABLE": "1",  # else the first request with log-probabilities waits half a minute for a compiler
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # keeps `uni` from becoming `mp`: one import of vLLM less
}
_ENVIRONMENT = {
    "VLLM_SERVER_DEV_MODE": "1",  # the routes of weight updates
    "VLLM_USE_V2_MODEL_RUNNER": "0",  # the other runner knows neither logits processors nor our log-probabilities
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


def install_folder(device: str) -> Path:
    """Where scripts/install_vllm.py puts the environment for `cpu` or `cuda`."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "palaestra" / "vllm" / device.partition(":")[0]


def interpreter(config: PolicyConfig) -> Path:
    """The python that has vLLM. Raises `BadRequest` with the command that installs it."""
    told = config.vllm_python or os.environ.get("PALAESTRA_VLLM_PYTHON", "")
    python = Path(told) if told else install_folder(config.device) / "bin" / "python"
    if not python.is_file():
        device = config.device.partition(":")[0]
        raise BadRequest(
            f"there is no vLLM at {python}",
            field="vllm_python",
            hint=f"python scripts/install_vllm.py --device {device}, or name an interpreter that has vLLM",
        )
    return python


def command(config: PolicyConfig, python: Path, port: int) -> list[str]:
    """The command line of the server; `vllm_args` come last, so they win."""
    words = [str(python), "-m", "palaestra_vllm.serve", "--host", "127.0.0.1", "--port", str(port)]
    words += ["--model", config.checkpoint, "--served-model-name", config.model_name, "--dtype", config.dtype]
    words += ["--max-model-len", str(config.max_length + 1)]  # one more: a scored sequence leaves room for a token
    words += ["--max-num-seqs", str(config.num_slots)]
    words += ["--generation-config", "vllm"]  # the checkpoint's sampling defaults are not ours
    words += ["--enable-scale-out", "--enable-prompt-tokens-details"]  # tokens in, tokens out; what was cached is told
    words += ["--logprobs-mode", "raw_logprobs", "--max-logprobs", "20"]
    words += ["--structured-outputs-config", '{"backend": "guidance"}']  # the grammars are those of the embedded engine
    words += ["--reasoning-parser", "nemotron_v3"]  # so that a grammar waits for the thought to end
    words += ["--weight-transfer-config", '{"backend": "shm"}']
    words += ["--worker-extension-cls", "palaestra_vllm.extension.ServedWeights"]
    words += ["--disable-uvicorn-access-log"]
    if config.device == "cpu":
        words += ["--enforce-eager", "--distributed-executor-backend", "uni"]
        size = CPU_KV_BYTES if config.cache_mb is None else config.cache_mb << 20
        words += ["--kv-cache-memory-bytes", str(size)]
    elif config.cache_mb is not None:
        words += ["--kv-cache-memory-bytes", str(config.cache_mb << 20)]
    return words + shlex.split(config.vllm_args)


def environment(config: PolicyConfig, inherited: Mapping[str, str]) -> dict[str, str]:
    """Of the process: ours without what belongs to another interpreter, and the recipe's."""
    kept = {name: value for name, value in inherited.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    added = _ENVIRONMENT | (_CPU_ENVIRONMENT if config.device == "cpu" else {})
    if config.device == "cpu" and config.num_threads is not None:
        added |= {"OMP_NUM_THREADS": str(config.num_threads)}
    if config.device.startswith("cuda:"):
        added |= {"CUDA_VISIBLE_DEVICES": config.device.partition(":")[2]}
    return kept | added
