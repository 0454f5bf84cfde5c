"""The patches, each applied once and each undone by nothing: a process that loaded vLLM keeps them."""

from __future__ import annotations

import functools
import platform
import sys
from collections.abc import Callable
from typing import Any

import torch
import vllm

from . import VLLM_VERSION

_applied = False


def apply() -> None:
    """Raises `RuntimeError` where vLLM is not the version that this was written for."""
    global _applied
    if _applied:
        return
    found = vllm.__version__.partition("+")[0]
    if found != VLLM_VERSION:
        raise RuntimeError(
            f"palaestra-vllm is made for vLLM {VLLM_VERSION} and this is {found}: install that version with "
            "scripts/install_vllm.py, or leave the plugin out with VLLM_PLUGINS="
        )
    from vllm.platforms import current_platform

    _register_transfer()
    _tempered_logprobs()
    if current_platform.is_cpu():
        _ask_for_amx()
        _keep_conv_weights_plain()
        _allow_ungated_experts()
        _offer_relu2_experts()
        _checkpoint_prefixes()
        _take_narrow_heads()
    _applied = True


def _register_transfer() -> None:
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

    WeightTransferEngineFactory.register_engine("shm", "palaestra_vllm.transfer", "ShmWeightTransfer")


def _tempered_logprobs() -> None:
    """`raw_logprobs` are told at temperature 1; a trainer needs those of the distribution that was drawn from."""
    from vllm.v1.sample.sampler import Sampler

    plain: Callable[..., Any] = Sampler.forward

    @functools.wraps(plain)
    def forward(self: Any, logits: torch.Tensor, sampling_metadata: Any, *args: Any, **kwargs: Any) -> Any:
        temperature = sampling_metadata.temperature
        if temperature is None:  # all of them greedy
            return plain(self, logits, sampling_metadata, *args, **kwargs)
        scale = torch.where(temperature < 1e-5, 1.0, temperature).unsqueeze(1)
        self.compute_logprobs = lambda scores: (scores.float() / scale).log_softmax(-1, dtype=torch.float32)
        try:
            return plain(self, logits, sampling_metadata, *args, **kwargs)
        finally:
            del self.compute_logprobs

    Sampler.forward = forward


def _ask_for_amx() -> None:
    """Without it the first short prompt in bf16 dies of an illegal instruction: vLLM asks for permission too late."""
    if platform.machine() in ("x86_64", "AMD64"):
        torch.cpu._init_amx()


def _keep_conv_weights_plain() -> None:
    """The bf16 prepack of conv1d gives the weight another storage, of which `mixer.conv_weights` is no view any more:
    new weights would never reach it."""
    import vllm._custom_ops as ops

    if hasattr(ops, "causal_conv1d_weight_pack"):
        del ops.causal_conv1d_weight_pack


def _allow_ungated_experts() -> None:
    """The config refuses experts without a gate on a CPU, as the last thing it checks."""
    from vllm.model_executor.layers.fused_moe.config import FusedMoEConfig

    check = FusedMoEConfig.__post_init__

    @functools.wraps(check)
    def allow(self: Any) -> None:
        try:
            check(self)
        except NotImplementedError as refusal:
            if "is_act_and_mul=False" not in str(refusal):
                raise

    FusedMoEConfig.__post_init__ = allow


def _offer_relu2_experts() -> None:
    from vllm.model_executor.layers.fused_moe.oracle import unquantized

    known = unquantized.backend_to_kernel_cls

    @functools.wraps(known)
    def offer(backend: Any) -> list[Any]:
        from .experts import Relu2Experts

        kernels = known(backend)
        return [*kernels, Relu2Experts] if backend is unquantized.UnquantizedMoeBackend.CPU else kernels

    unquantized.backend_to_kernel_cls = offer


def _checkpoint_prefixes() -> None:
    from vllm.model_executor.layers.mamba.ops import ssd_checkpoint, ssd_combined

    from .checkpoints import chunk_states, store_prefill_checkpoint

    ssd_combined._mamba_chunk_scan_combined_fwd = chunk_states(ssd_combined._mamba_chunk_scan_combined_fwd)
    ssd_checkpoint.store_prefill_checkpoint = store_prefill_checkpoint
    mixer: Any = sys.modules.get("vllm.model_executor.layers.mamba.mamba_mixer2")
    if mixer is not None:  # it took the name when it was imported
        mixer.store_prefill_checkpoint = store_prefill_checkpoint


def _take_narrow_heads() -> None:
    from vllm.config.model import ModelConfig
    from vllm.model_executor.layers.attention.attention import Attention
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    from . import narrow_heads

    narrow_heads.apply(Attention, ModelConfig, CPUAttentionBackend.get_supported_head_sizes())
