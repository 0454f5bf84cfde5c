"""Weights from shared memory through vLLM's own update routes: the trainer's safetensors file on tmpfs, mapped here.

POST /start_weight_update ─▶ /update_weights {"update_info": {"path"}} ─▶ /finish_weight_update {"weight_version"}
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)

from .files import tensors_of


@dataclass
class ShmInit(WeightTransferInitInfo):
    """Nothing has to be agreed on."""


@dataclass
class ShmUpdate(WeightTransferUpdateInfo):
    """`path`: a safetensors file, or a folder of them, that this process can map."""

    path: str


class ShmWeightTransfer(WeightTransferEngine[ShmInit, ShmUpdate]):
    """Loads by layers, so that packed and derived tensors are made anew."""

    init_info_cls, update_info_cls = ShmInit, ShmUpdate

    def init_transfer_engine(self, init_info: ShmInit) -> None:
        """Nothing to connect."""

    def start_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """As the base class, without waiting for an accelerator where there is none."""
        if self.device.type == "cpu":
            self.receive_weights(self.parse_update_info(update_info))
        else:
            super().update_weights(update_info)

    def receive_weights(self, update_info: ShmUpdate) -> None:
        self.model.load_weights((name, tensor.to(self.device)) for name, tensor in tensors_of(Path(update_info.path)))

    def finish_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        finalize_layerwise_reload(self.model, self.model_config)

    def shutdown(self) -> None:
        """Nothing is held."""
