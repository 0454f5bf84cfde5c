"""How often a checkpoint solves each task of a recipe's pools: a file of profiles, one JSON line per task.

    pools ─▶ chunks of tasks ─▶ agent server, `repeats` tries of each ─▶ a line per task ─▶ curriculum (`grpo.profiles`)

A chunk is written once all its tasks are played, so a second call with the same file plays only what is missing: tasks
none of whose tries was scored have no line and are tried again. One file holds one checkpoint's profiles.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gym_core.contracts import Sampling, TaskProfile
from gym_core.errors import BadRequest
from palaestra.house import Row, draw_tasks
from trainer.collect import AgentPool
from trainer.config import Recipe
from trainer.evaluate import profiles

if TYPE_CHECKING:
    from trainer.curriculum import Curriculum

CHUNK = 64
"""Tasks that are under way together, and lost together when the program is killed."""
_END = 1 << 20
Key = tuple[str, str]


def fingerprint(checkpoint: Path) -> str:
    """A name for the weights in a folder: its own, and a hash of config, sizes and both ends of the tensor files."""
    found = hashlib.sha256((checkpoint / "config.json").read_bytes())
    for path in sorted(checkpoint.glob("*.safetensors")):
        size = path.stat().st_size
        with path.open("rb") as file:
            found.update(f"{path.name} {size}".encode() + file.read(_END))
            file.seek(max(0, size - _END))
            found.update(file.read())
    return f"{checkpoint.name}-{found.hexdigest()[:12]}"


def read_profiles(path: Path, checkpoint: str | None = None) -> dict[Key, TaskProfile]:
    """Profiles of a file by environment and task; a torn last line is cut off.

    Raises BadRequest for a file that holds something else, or another checkpoint's than the one asked for.
    """
    data = path.read_bytes() if path.is_file() else b""
    whole = data.rfind(b"\n") + 1
    found = {}
    for number, line in enumerate(data[:whole].splitlines(), 1):
        try:
            profile = msgspec.json.decode(line, type=TaskProfile)
        except msgspec.DecodeError as error:
            raise BadRequest(f"{path.name}, line {number} is no profile: {error}", field="profiles") from None
        if not (profile.count > 0 and 0.0 <= profile.passes <= profile.count):
            raise BadRequest(
                f"{path.name}, line {number}: {profile.passes} passes of {profile.count} tries", field="profiles"
            )
        if checkpoint is not None and profile.checkpoint != checkpoint:
            raise BadRequest(
                f"{path.name} holds profiles by {profile.checkpoint}, not by {checkpoint}",
                field="output",
                hint="name another file, or begin this one anew with --fresh",
            )
        found[profile.environment, profile.task_id] = profile
    if whole < len(data):
        if not data[whole:].startswith(b"{"):
            raise BadRequest(f"{path.name} holds no profiles", field="output", hint="name another file")
        os.truncate(path, whole)
    return found


async def profile_pools(
    agents: AgentPool,
    pools: Mapping[str, Sequence[Row]],
    *,
    checkpoint: str,
    repeats: int,
    sampling: Sampling,
    path: Path,
    on_task: Callable[[], None] = lambda: None,
) -> list[TaskProfile]:
    """Play every task that `path` has no line of; returns all profiles. Raises the agent pool's typed errors."""
    rows = [row for pool in pools.values() for row in pool]
    done = read_profiles(path, checkpoint)
    for number in range(0, len(rows), CHUNK):
        chunk = rows[number : number + CHUNK]
        missing = [row for row in chunk if (str(row["environment"]), str(row["task_id"])) not in done]
        if missing:
            groups = await agents.run(missing, repeats=repeats, step=number, sampling=sampling, purpose="profile")
            made = profiles(groups, checkpoint)
            _append(path, made)
            done |= {(profile.environment, profile.task_id): profile for profile in made}
        for _ in chunk:
            on_task()
    return list(done.values())


async def draw_pools(url: str, recipe: Recipe) -> dict[str, list[Row]]:
    """The training pools of a recipe, as `palaestra train` draws them."""
    return {
        name: await draw_tasks(url, name, seed=recipe.seed, level=mix.level, count=mix.tasks, split="train")
        for name, mix in recipe.environments.items()
    }


def sampling_of(recipe: Recipe) -> Sampling:
    """As in training."""
    return Sampling(temperature=recipe.grpo.temperature, top_p=1.0, max_output_tokens=recipe.grpo.max_output_tokens)


def saved_profiles(path: Path) -> dict[Key, TaskProfile]:
    """Profiles to begin with. Raises BadRequest where there is no file, and as `read_profiles`."""
    if not path.is_file():
        raise BadRequest(f"no file {path}", field="grpo.profiles", hint="`palaestra profile` writes one")
    return read_profiles(path)


def begin_with(curriculum: Curriculum, path: Path) -> int:
    """Give the pools the profiles of a file; returns how many tasks are dropped. Raises BadRequest where none fits."""
    found = saved_profiles(path)
    pools = curriculum.pools
    fitting = [p for (name, task), p in found.items() if name in pools and task in pools[name].rows]
    if not fitting:
        raise BadRequest(
            f"{path.name} has {len(found)} profiles, of none of the recipe's tasks",
            field="grpo.profiles",
            hint="profile with the same recipe and seed: tasks follow from both",
        )
    return curriculum.profile(fitting)


def summary(pools: Mapping[str, Sequence[Row]], found: Sequence[TaskProfile]) -> list[dict[str, Any]]:
    """By environment: tasks, profiled, mean pass rate, and how many are always or never solved."""
    rows = []
    for name, pool in pools.items():
        own = [profile for profile in found if profile.environment == name]
        rates = [profile.passes / profile.count for profile in own]
        rows.append(
            {
                "environment": name,
                "tasks": len(pool),
                "profiled": len(own),
                "pass rate": sum(rates) / len(rates) if rates else None,
                "always": sum(rate >= 1.0 for rate in rates),
                "never": sum(rate <= 0.0 for rate in rates),
            }
        )
    return rows


def _append(path: Path, found: Sequence[TaskProfile]) -> None:
    with path.open("ab") as file:
        file.write(b"".join(msgspec.json.encode(profile) + b"\n" for profile in found))
        file.flush()
        os.fsync(file.fileno())
