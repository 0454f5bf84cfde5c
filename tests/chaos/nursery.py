"""A process that has everything imported and forks one child for each life of a run, so that a death costs no start.

    nursery ─fork─▶ run, killed at its appointed moment ─fork─▶ run again, to its end ─▶ digest of its weights

A moment is where SIGKILL strikes: when a stage begins, in the middle of one, or at the n-th operation on a file of the
run's folder. The world (agent, environment, policy) lives with the run and dies with it; what its agent server stored
is on disk, and nothing else outlives a life.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent
FILE_EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.symlink", "shutil.rmtree")
STEPS = 3


def _load(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


loop = _load("grpo_world", TESTS / "trainer" / "test_grpo.py")
from gym_core.client import Client  # noqa: E402
from gym_core.serve import start  # noqa: E402


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class StoredWorld(loop.World):  # type: ignore[misc, name-defined]
    """A world whose finished rollouts are files: they are there before anybody hears of them."""

    def __init__(self, recipe: Any, folder: Path) -> None:
        super().__init__(recipe)
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.store = Stored(folder)
        self.die_after_rollouts = self.die_at_weights = -1

    async def weights(self, request: Any) -> Any:
        reply = await super().weights(request)
        if self.version == self.die_at_weights:
            die()
        return reply


class Stored(dict[str, bytes]):
    """Frames by rollout id, each a file that is whole or absent; `die_after` so many new ones."""

    def __init__(self, folder: Path) -> None:
        super().__init__({path.name.replace("@", "/"): path.read_bytes() for path in folder.glob("[!.]*")})
        self.folder, self.die_after = folder, -1

    def setdefault(self, name: str, frame: bytes) -> bytes:  # type: ignore[override]
        if name not in self:
            partial = self.folder / ".partial"
            partial.write_bytes(frame)
            partial.rename(self.folder / name.replace("/", "@"))
            self[name] = frame
            self.die_after -= 1
            if self.die_after == 0:
                die()
        return self[name]


def recipe() -> Any:
    """Everything happens at every step: two updates, and a checkpoint, of which one is kept; a validation once."""
    changed: dict[str, Any] = {"steps": STEPS, "minibatches": 2}
    plain = loop.msgspec.to_builtins(loop.RECIPE)
    return loop.parse_recipe(
        {
            **plain,
            "grpo": plain["grpo"] | changed,
            "eval": {"every": 2},
            "checkpoint_every": 1,
            "keep_checkpoints": 1,
        }
    )


async def live(folder: Path, moment: str) -> None:
    """One life of the run in `folder`; where it reaches its end, the digest of its weights is written beside it."""
    asked = recipe()
    world = StoredWorld(asked, folder / "rollouts")
    async with await start(world.app()) as served, Client(served.url, retries=0, timeout_s=60.0) as client:
        run = loop.Run(folder, world, client, asked)
        run.checkpoints.keep = asked.keep_checkpoints
        run.validate = _validate
        arm(moment, run, world)
        await run.go()
    lines = [f"{name} {tensor.numpy().tobytes().hex()}" for name, tensor in sorted(run.weights().items())]
    (folder / "weights").write_text("\n".join(lines))
    (folder / "modules").write_text("\n".join(sorted(sys.modules)))


def warm(names: Path) -> None:
    """Import what the first life had to import on its way: torch takes most of its modules late."""
    for name in names.read_text().split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


async def _validate(done: int, recalled: Any) -> dict[str, float]:
    return {"val/reward": 1.0 / done}


def arm(moment: str, run: Any, world: StoredWorld) -> None:
    """Arrange the death: `stage NAME STEP`, `rollouts N`, `weights VERSION`, `update N`, `file N`, or none."""
    what, *rest = moment.split() or [""]
    if what == "stage":
        run.events = Listener(rest[0], int(rest[1]))
    elif what == "rollouts":
        world.store.die_after = int(rest[0])
    elif what == "weights":
        world.die_at_weights = int(rest[0])
    elif what == "update":
        loop.SpyLearner._apply = dying_at(int(rest[0]), loop.Learner._apply)
    elif what in ("file", "count"):
        watch(run.directory, int(rest[0]))


class Listener(list[Any]):
    """Events of a run; dies when a stage of a step begins."""

    def __init__(self, stage: str, step: int) -> None:
        super().__init__()
        self.moment = (stage, step)

    def append(self, event: Any) -> None:
        if event.kind == "stage" and (event.text, event.step) == self.moment:
            die()


def dying_at(number: int, method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, whose n-th call (0-based) is the last thing that happens: the optimiser has stepped, nobody knows."""
    count = iter(range(1 << 30))

    def call(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        if next(count) == number:
            die()
        return result

    return call


def watch(folder: Path, number: int) -> None:
    """Die at the n-th operation on a file below the folder (0-based). With -1 they are only counted, into `folder`."""
    state = {"count": 0}
    root = str(folder)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event not in FILE_EVENTS or not args or not str(args[0]).startswith(root):
            return
        if state["count"] == number:
            die()
        state["count"] += 1
        if number < 0:
            os.write(counted, b".")

    counted = os.open(folder.parent / f"{folder.name}.count", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    sys.addaudithook(hook)


def child(folder: Path, moment: str) -> int:
    """Fork one life; its exit status as `os.waitstatus_to_exitcode` tells it."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        asyncio.run(live(folder, moment))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def main(folder: Path) -> None:
    """Read moments, one a line; for each answer a line of JSON with how both lives ended and what is not as it should
    be. The first answer is the undisturbed life's: how it ended, and how often it touched a file of its folder."""
    straight = folder / "straight"
    straight.mkdir()
    ended = child(straight, "count -1")
    print(json.dumps({"ended": ended, "touched": (folder / "straight.count").stat().st_size}), flush=True)
    warm(straight / "modules")
    for number, line in enumerate(sys.stdin):
        run = folder / f"run-{number}"
        run.mkdir()
        ends = [child(run, line.strip()), child(run, "")]
        wrong = [name for name, found in FOUND.items() if ends[1] or found(run) != found(straight)]
        print(json.dumps({"moment": line.strip(), "ends": ends, "wrong": wrong}), flush=True)
        shutil.rmtree(run)


def journal(run: Path) -> Any:
    entries = loop.Journal(run / "journal.jsonl").entries()
    return [(entry.step, entry.version, entry.groups, entry.tasks, entry.curriculum) for entry in entries]


def checkpoints(run: Path) -> Any:
    """Which step each holds, what the links show, and that nothing else lies there."""
    place = run / "checkpoints"
    shown = {name: loop.read_state(place / name).step for name in ("latest", "best")}
    held = [loop.read_state(path).step for path in loop.Checkpoints(place).all()]
    return shown, held, len(list(place.iterdir()))


FOUND: dict[str, Callable[[Path], Any]] = {
    "weights": lambda run: (run / "weights").read_bytes(),
    "journal": journal,
    "rollouts": lambda run: sorted(path.name for path in (run / "rollouts").glob("[!.]*")),
    "checkpoints": checkpoints,
}
"""What two lives must leave behind as one does."""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="palaestra-nursery-") as place:
        main(Path(place).resolve())
