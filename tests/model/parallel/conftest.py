"""Start the processes of a layout on this machine: modules of `played/`, run by all ranks over gloo."""

from __future__ import annotations

import json
import multiprocessing
import runpy
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

Play = Callable[..., list[dict[str, Any]]]
PLAYED = Path(__file__).parent / "played"


@pytest.fixture(scope="session")
def context() -> ForkServerContext:
    """Processes forked from one that has torch imported already, and nothing else running."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch.distributed.fsdp", "model.parallel.checkpoint"])
    return context


@pytest.fixture(scope="session")
def play(context: ForkServerContext, tmp_path_factory: pytest.TempPathFactory) -> Play:
    """play(world, script, *arguments) -> what the script's main(rank, world, init_method, *arguments) left per rank.

    A rank writes its result to the file that it is given; one that wrote none has {}. Those that are still running
    after `deadline_s` are killed, and so are those in `victims` once all others have ended.
    """

    def run(
        world: int, script: str, *arguments: Any, deadline_s: float = 120.0, victims: tuple[int, ...] = ()
    ) -> list[dict[str, Any]]:
        folder = tmp_path_factory.mktemp(script)
        files = [folder / f"{rank}.json" for rank in range(world)]
        processes = []
        for rank, file in enumerate(files):
            given = dict(RANK=rank, WORLD=world, INIT=f"file://{folder / 'store'}", SCRIPT=script)
            given |= dict(RESULT=file, ARGUMENTS=arguments)
            process = context.Process(target=runpy.run_path, args=(str(PLAYED), given, "played"), daemon=True)
            process.start()
            processes.append(process)
        for rank, process in enumerate(processes):
            if rank not in victims:
                process.join(deadline_s)
        late = [rank for rank, process in enumerate(processes) if rank not in victims and process.is_alive()]
        for process in processes:
            process.kill()
            process.join()
            process.close()
        assert not late, f"ranks {late} of {script} did not end within {deadline_s} s"
        return [json.loads(file.read_text()) if file.exists() else {} for file in files]

    return run
