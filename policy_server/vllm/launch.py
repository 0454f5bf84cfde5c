"""From settings to a vLLM backend: a server started for the checkpoint, or the one that `vllm_url` names."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import msgspec

from gym_core.client import Client
from gym_core.errors import BadRequest, Unavailable
from model import checkpoint
from model.config import HybridConfig
from model.tokenizer import StreamDecoder, Tokenizer
from policy_server.config import PolicyConfig
from policy_server.grammar import Grammars
from policy_server.vllm.backend import VllmBackend
from policy_server.vllm.process import VllmProcess
from policy_server.vllm.recipe import command, environment, interpreter
from policy_server.vllm.updates import Updates

_ASK_S = 10.0


class _WeightInfo(msgspec.Struct):
    weight_version: str


def open_vllm(config: PolicyConfig, tokenizer: Tokenizer) -> VllmBackend:
    """The backend, its server answering. Raises `BadRequest` naming the setting, or as `VllmProcess.start`.

    `checkpoint` is read here for its config alone: what fits is known before vLLM is asked.
    """
    try:
        model = checkpoint.read_config(Path(config.checkpoint))
    except (ValueError, FileNotFoundError) as error:
        raise BadRequest(str(error), field="checkpoint") from None
    if config.vllm_url:
        return _backend(config, model, tokenizer, config.vllm_url.rstrip("/").removesuffix("/v1"), None)
    python = interpreter(config)
    process = VllmProcess(
        partial(command, config, python), environment(config, os.environ), start_timeout_s=config.vllm_start_s
    ).start()
    return _backend(config, model, tokenizer, process.url, process)


def served_version(url: str) -> int:
    """The policy version that a server says it holds, 0 where it says none. Raises `Unavailable`."""
    try:
        with urllib.request.urlopen(f"{url}/weight_info", timeout=_ASK_S) as reply:
            told = msgspec.json.decode(reply.read(), type=_WeightInfo).weight_version
    except urllib.error.HTTPError:
        return 0  # its routes of weight updates are closed: it keeps the weights that it began with
    except (OSError, msgspec.DecodeError) as error:
        raise Unavailable(f"there is no vLLM at {url}: {error}", stage="start", hint="check vllm_url") from None
    return int(told) if told.isdecimal() else 0


def _backend(
    config: PolicyConfig, model: HybridConfig, tokenizer: Tokenizer, url: str, process: VllmProcess | None
) -> VllmBackend:
    version = served_version(url)

    def updates(client: Client) -> Updates:
        return Updates(client, model, version=version, switch=config.vllm_switch)

    eos = model.eos_token_id
    return VllmBackend(
        url,
        updates,
        vocab_size=model.vocab_size,
        max_length=config.max_length,
        stop_ids=tokenizer.stop_ids | frozenset([eos] if isinstance(eos, int) else eos),
        decoder=lambda: StreamDecoder(tokenizer, skip_special=True),
        grammars=Grammars(tokenizer),
        model_name=config.model_name,
        num_waiting=config.num_slots + config.max_waiting,
        timeout_s=config.deadline_s,
        token=config.upstream_token or None,
        process=process,
    )
