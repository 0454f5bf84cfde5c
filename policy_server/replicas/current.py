"""The weights that every replica must have: kept open here, so that a replica that starts later can take them too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from gym_core.errors import BadRequest
from model.weight_memory import Handle, duplicate
from policy_server.weights import WeightsParams


class Kept:
    """One publication: what to ask of a replica, and the descriptor that keeps its bytes alive."""

    def __init__(self, params: WeightsParams) -> None:
        self._fd = -1
        self.version = params.version
        if params.memory is not None:
            self.params = msgspec.structs.replace(params, memory=self._memory(params.memory))
        elif Path(params.path).is_file():
            self._fd = os.open(params.path, os.O_RDONLY | os.O_CLOEXEC)
            self.params = msgspec.structs.replace(params, path=f"/proc/{os.getpid()}/fd/{self._fd}")
        else:
            self.params = params  # a folder, which has to stay

    def _memory(self, offered: Handle) -> Handle:
        if offered.fd < 0:
            raise BadRequest(
                "replicas are processes of their own", field="memory", hint="publish by shared memory, disk or http"
            )
        try:
            self._fd = duplicate(offered)
        except ValueError as error:
            raise BadRequest(str(error), field="memory", hint="publish by disk or http") from None
        return Handle(os.getpid(), self._fd, offered.inode, offered.nbytes)

    def body(self) -> dict[str, Any]:
        """What POST /weights is asked."""
        body: dict[str, Any] = msgspec.to_builtins(self.params)
        return body

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
