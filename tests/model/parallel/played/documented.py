"""Run by every rank: the example of docs/parallelism.md, as torchrun would start it."""

from __future__ import annotations

import os
from pathlib import Path


def main(rank: int, world: int, init: str, port: int, code: str, folder: str) -> dict[str, bool]:
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    os.chdir(folder)
    exec(compile(code, "docs/parallelism.md", "exec"), {})
    return {"saved": (Path(folder) / "after" / "config.json").is_file()}
