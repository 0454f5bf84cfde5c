"""From settings to a vLLM backend: a server started for the checkpoint, or the one that `vllm_url` names."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from gym_core.client import Client
from gym_core.errors import BadRequest
from model import checkpoint
from model.config import HybridConfig
from model.tokenizer import StreamDecoder, Tokenizer
from policy_server.config import PolicyConfig
from policy_server.grammar import Grammars
from policy_server.vllm.backend import VllmBackend
from policy_server.vllm.process import VllmProcess
from policy_server.vllm.recipe import command, environment, interpreter
from policy_server.vllm.updates import Updates


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


def _backend(
    config: PolicyConfig, model: HybridConfig, tokenizer: Tokenizer, url: str, process: VllmProcess | None
) -> VllmBackend:
    def updates(client: Client) -> Updates:
        return Updates(client, model, switch=config.vllm_switch)

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
