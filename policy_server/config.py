"""Settings of the policy server; loaded by `gym_core.config` under the section `policy`."""

from __future__ import annotations

from typing import Literal

import msgspec

MAX_TEMPERATURE = 1e6


class PolicyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`backend` is `embedded` (a checkpoint in this process), `vllm` (a vLLM server that is started for it, or the
    one at `vllm_url`) or `upstream` (any OpenAI-compatible address).

    `checkpoint`: folder with config.json, safetensors and tokenizer.json; for an upstream the folder of its tokenizer,
    which `chat` can do without (its traces are trainable only where it tells its token ids).
    `num_slots` samples run at once, each up to `max_length` tokens with its prompt; `num_prefixes` states of prompts
    and of turns with tools are kept for whoever asks again; `prefill_tokens` bounds the prompt tokens of one step, a
    longer prompt is read in pieces. `deterministic`: every sample is computed by itself, so the same request gives the
    same tokens whatever else runs, at a pass of the model per sample.
    `cache_mb` bounds the memory of all their states: fewer samples run at once where `num_slots` would not fit.
    `num_threads` is torch's (1 is fastest for tiny models; None leaves torch's choice). `upstream_api`: `chat` sends
    messages, `completions` sends token ids and keeps traces exact (vLLM takes them).
    `vllm_python`: the interpreter that has vLLM (default: where scripts/install_vllm.py puts it); `vllm_args`: flags
    after the recipe's; `vllm_switch`: new weights take over between two `tokens` of what runs, or when the running
    `requests` have ended. `num_threads`, `num_slots`, `cache_mb`, `max_length`, `dtype` and `device` are vLLM's too.
    """

    backend: Literal["embedded", "upstream", "vllm"] = "embedded"
    model_name: str = "palaestra"
    checkpoint: str = ""
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"
    num_threads: int | None = 1
    num_slots: int = 128
    cache_mb: int | None = None
    num_prefixes: int = 128
    max_length: int = 2048
    max_waiting: int = 1024
    prefill_tokens: int = 8192
    deterministic: bool = False
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    enable_thinking: bool = True
    deadline_s: float = 600.0
    upstream_url: str = ""
    upstream_model: str = ""
    upstream_api: Literal["chat", "completions"] = "chat"
    upstream_token: str = ""
    vllm_url: str = ""
    vllm_python: str = ""
    vllm_args: str = ""
    vllm_switch: Literal["tokens", "requests"] = "tokens"
    vllm_start_s: float = 600.0

    def __post_init__(self) -> None:
        for name in ("num_slots", "max_length", "max_waiting", "prefill_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.cache_mb is not None and self.cache_mb < 1:
            raise ValueError(f"cache_mb must be at least 1, not {self.cache_mb}")
        if self.num_prefixes < 0:
            raise ValueError(f"num_prefixes must be 0 or more, not {self.num_prefixes}")
        for name in ("num_threads", "max_tokens"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        for name in ("deadline_s", "vllm_start_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if not 0 <= self.temperature <= MAX_TEMPERATURE:
            raise ValueError(f"temperature must be 0 to {MAX_TEMPERATURE:g}, not {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], not {self.top_p}")
