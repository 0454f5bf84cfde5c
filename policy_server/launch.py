"""From settings to a backend: the embedded engine over a checkpoint folder, vLLM, or an upstream."""

from __future__ import annotations

from pathlib import Path

import torch

from gym_core.errors import BadRequest
from model import checkpoint
from model.cache import StateCache
from model.config import HybridConfig
from model.control_tokens import MIN_RESERVED
from model.stack import HybridModel
from model.tokenizer import NUM_BYTES, StreamDecoder, Tokenizer
from policy_server.config import PolicyConfig
from policy_server.engine import Engine
from policy_server.grammar import Grammars
from policy_server.requests import Backend
from policy_server.upstream import ChatUpstream, Upstream
from policy_server.vllm.launch import open_vllm


def embed(model: HybridModel, tokenizer: Tokenizer, config: PolicyConfig, version: int = 0) -> Engine:
    """An engine over a model in this process, not started yet. Raises `BadRequest` when the two do not fit."""
    if tokenizer.vocab_size > model.config.vocab_size:
        raise BadRequest(
            f"the tokenizer has {tokenizer.vocab_size} ids, the model only {model.config.vocab_size}",
            field="checkpoint",
            hint="use the tokenizer.json that was saved with the model",
        )
    eos = model.config.eos_token_id
    parameter = next(model.parameters())
    num_slots, num_prefixes = slots_within(config, model.config, parameter.dtype)
    return Engine(
        model.eval(),
        lambda num_slots: StateCache(
            model.config, num_slots, config.max_length, device=parameter.device, dtype=parameter.dtype
        ),
        num_slots=num_slots,
        max_length=config.max_length,
        stop_ids=tokenizer.stop_ids | frozenset([eos] if isinstance(eos, int) else eos),
        decoder=lambda: StreamDecoder(tokenizer, skip_special=True),
        model_name=config.model_name,
        version=version,
        num_prefixes=num_prefixes,
        max_waiting=config.max_waiting,
        prefill_tokens=config.prefill_tokens,
        num_threads=config.num_threads,
        deterministic=config.deterministic,
        grammars=Grammars(tokenizer),
    )


def slots_within(config: PolicyConfig, model: HybridConfig, dtype: torch.dtype) -> tuple[int, int]:
    """(running, kept) states of `max_length` tokens that fit into `cache_mb`: kept ones give way first.

    Raises `BadRequest` when not one fits.
    """
    if config.cache_mb is None:
        return config.num_slots, config.num_prefixes
    each = slot_bytes(model, config.max_length, dtype)
    fit = (config.cache_mb << 20) // each - config.device.startswith("cuda")  # one more there for captured steps
    if fit < 1:
        raise BadRequest(
            f"one sample of {config.max_length} tokens takes {each / 2**20:.1f} MB, cache_mb is {config.cache_mb}",
            field="cache_mb",
            hint="raise cache_mb or lower max_length",
        )
    num_slots = min(config.num_slots, fit)
    return num_slots, min(config.num_prefixes, fit - num_slots)


def slot_bytes(model: HybridConfig, max_length: int, dtype: torch.dtype) -> int:
    """Bytes of one sample's state at its longest: Mamba states and the keys and values of `max_length` tokens."""
    one = StateCache(model, 1, max_length, device="meta", dtype=dtype)
    one.reserve(max_length)
    return one.nbytes


def open_backend(config: PolicyConfig) -> tuple[Backend, Tokenizer]:
    """The backend of these settings, running, and its tokenizer. Raises `BadRequest` naming the setting."""
    tokenizer = _tokenizer(config)
    if config.backend == "embedded":
        _require_device(config.device)
        try:
            model = checkpoint.load_pretrained(config.checkpoint, config.device, getattr(torch, config.dtype))
        except (ValueError, FileNotFoundError) as error:
            raise BadRequest(_shortly(error), field="checkpoint") from None
        return embed(model, tokenizer, config).start(), tokenizer
    if config.backend == "vllm":
        return open_vllm(config, tokenizer), tokenizer
    if not config.upstream_url or not config.upstream_model:
        missing = "upstream_model" if config.upstream_url else "upstream_url"
        raise BadRequest("an upstream needs its address and the name of its model", field=missing)
    kind = ChatUpstream if config.upstream_api == "chat" else Upstream
    upstream = kind(
        config.upstream_url,
        tokenizer,
        upstream_model=config.upstream_model,
        model_name=config.model_name,
        token=config.upstream_token or None,
        max_length=config.max_length,
        timeout_s=config.deadline_s,
    )
    return upstream, tokenizer


def _require_device(name: str) -> None:
    """Raises `BadRequest` for a device that this machine or this torch has not."""
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or not (index or "0").isdecimal():
        raise BadRequest(f"there is no device {name!r}", field="device", hint="use cpu, cuda or cuda:0")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and int(index or 0) >= count:
        raise BadRequest(f"there is no {name} here: torch sees {count} GPUs", field="device", hint="use cpu")


def _shortly(error: Exception, most: int = 3) -> str:
    """A message in one line: what is wrong with a checkpoint may be as long as its list of tensors."""
    first, *rest = (line.strip() for line in str(error).splitlines())
    more = f"; and {len(rest) - most} more" if len(rest) > most else ""
    return " ".join([first, "; ".join(rest[:most])]).strip() + more


def byte_tokenizer() -> Tokenizer:
    """One token a byte, for a chat upstream whose tokens nobody knows: its text can be counted, never trained on."""
    return Tokenizer.train([], NUM_BYTES + MIN_RESERVED)


def _tokenizer(config: PolicyConfig) -> Tokenizer:
    folder = config.checkpoint
    if not folder and config.backend == "upstream" and config.upstream_api == "chat":
        return byte_tokenizer()
    if not folder or not Path(folder).exists():
        raise BadRequest(f"there is no folder {folder!r}", field="checkpoint", hint="give one with a tokenizer.json")
    try:
        return Tokenizer.load(folder)
    except (ValueError, FileNotFoundError) as error:
        raise BadRequest(str(error), field="checkpoint") from None
