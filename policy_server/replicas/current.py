"""The weights that every replica must have: kept open here, so that a replica that starts later can take them too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from gym_core.errors import BadRequest
from model.weight_memory import Handle, duplicate, open_memory
from model.weight_stream import body_of
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

    def order(self) -> dict[str, Any]:
        """What POST /weights is asked."""
        order: dict[str, Any] = msgspec.to_builtins(self.params)
        return order

    def body(self) -> Any:
        """What POST /weights/body is sent, for a replica on a machine that does not see our memory. None for a path."""
        memory = self.params.memory
        if memory is None:
            return None
        head = msgspec.structs.replace(self.params, memory=None, nbytes=memory.nbytes)
        return body_of(msgspec.json.encode(head), open_memory(memory))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
