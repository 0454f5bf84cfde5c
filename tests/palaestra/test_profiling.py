"""Profiles: what is written, what is played again, what is refused; and the command over a real line of services."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from gym_core.contracts import Outcome, Rollout, Sampling, TaskProfile, Verdict
from gym_core.errors import BadRequest, PolicyFault
from model.config import HybridConfig
from model.stack import HybridModel
from model.tokenizer import Tokenizer
from palaestra import profiling
from palaestra.__main__ import cli
from palaestra.profiling import begin_with, fingerprint, profile_pools, read_profiles, summary
from trainer.curriculum import Curriculum
from trainer.played import Played, PlayedGroup

POOLS = {name: [{"environment": name, "task_id": f"{name}-{i}"} for i in range(5)] for name in ("maths", "json")}


class Agents:
    """Task i of an environment passes i of `repeats` times; `unscored` ones never are; dies after `chunks` calls."""

    def __init__(self, chunks: int = 99, unscored: str = "") -> None:
        self.chunks, self.unscored = chunks, unscored
        self.asked: list[str] = []

    async def run(self, rows: list[dict[str, Any]], *, repeats: int, **_: Any) -> list[PlayedGroup]:
        self.chunks -= 1
        if self.chunks < 0:
            raise PolicyFault("gone")
        self.asked += [row["task_id"] for row in rows]
        return [self.group(row, repeats) for row in rows]

    def group(self, row: dict[str, Any], repeats: int) -> PlayedGroup:
        task, environment = row["task_id"], row["environment"]
        lost = task == self.unscored
        members = [
            Rollout(
                rollout_id=f"{task}/{i}",
                environment=environment,
                task_id=task,
                outcome=Outcome.ENV_ERROR if lost else Outcome.SCORED,
                verdict=None if lost else Verdict(reward=float(i < int(task[-1]))),
            )
            for i in range(repeats)
        ]
        return PlayedGroup(task, task, environment, [Played(member, []) for member in members])


async def profile(agents: Agents, path: Path, checkpoint: str = "c") -> list[TaskProfile]:
    return await profile_pools(
        agents,  # type: ignore[arg-type]  # called alike
        POOLS,
        checkpoint=checkpoint,
        repeats=4,
        sampling=Sampling(),
        path=path,
    )


async def test_what_breaks_off_goes_on_and_plays_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "CHUNK", 3)
    path = tmp_path / "p.jsonl"
    with pytest.raises(PolicyFault):
        await profile(Agents(chunks=2), path)
    with path.open("ab") as file:
        file.write(b'{"environment":"ma')  # killed while it wrote
    again = Agents(unscored="json-3")
    found = await profile(again, path)
    assert again.asked == ["json-1", "json-2", "json-3", "json-4"], "chunks of three, two of them done"
    rates = {p.task_id: p.passes / p.count for p in found}
    assert rates == {f"{name}-{i}": i / 4 for name in POOLS for i in range(5) if (name, i) != ("json", 3)}
    last = Agents()
    assert len(await profile(last, path)) == 10
    assert last.asked == ["json-3"], "a task without a scored rollout is tried again"
    rows = summary(POOLS, list(read_profiles(path).values()))
    assert rows[0] == {"environment": "maths", "tasks": 5, "profiled": 5, "pass rate": 0.5, "always": 1, "never": 1}


async def test_files_of_something_else_are_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    await profile(Agents(), path)
    with pytest.raises(BadRequest, match="by c, not by d"):
        await profile(Agents(), path, "d")
    for text, match in (
        ("notes\n", "line 1 is no profile"),
        ("half a note", "holds no profiles"),
        (
            '{"environment":"a","task_id":"t","checkpoint":"c","passes":3,"count":2}\n',
            r"line 1: 3\.0 passes of 2 tries",
        ),
    ):
        path.write_text(text)
        with pytest.raises(BadRequest, match=match):
            await profile(Agents(), path)
        assert path.read_text() == text


def curriculum() -> Curriculum:
    return Curriculum(POOLS, dict.fromkeys(POOLS, 1.0), prompts_per_step=4, steps=9, seed=0)


async def test_a_curriculum_begins_with_a_file(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    await profile(Agents(), path)
    made = curriculum()
    assert begin_with(made, path) == 2, "of each environment one is always solved"
    assert made.pools["maths"].pass_rate("maths-1") == 2 / 6
    with pytest.raises(BadRequest, match="no file"):
        begin_with(made, tmp_path / "other.jsonl")
    path.write_bytes(msgspec.json.encode(TaskProfile(environment="x", task_id="t", checkpoint="c", passes=1, count=2)))
    with path.open("ab") as file:
        file.write(b"\n")
    with pytest.raises(BadRequest, match="none of the recipe's tasks"):
        begin_with(made, path)


def checkpoint(folder: Path, seed: int = 0) -> Path:
    from model.checkpoint import save_pretrained

    tokenizer = Tokenizer.train(["one two three"], 300)
    config = HybridConfig.tiny(tokenizer.vocab_size, hidden_size=16, hybrid_override_pattern="M*")
    save_pretrained(HybridModel(config, seed=seed), folder)
    tokenizer.save(folder)
    return folder


def test_a_fingerprint_is_of_the_weights(tmp_path: Path) -> None:
    one, same, other = (checkpoint(tmp_path / place / "m", seed) for place, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)
    assert fingerprint(one).startswith("m-")


def test_the_command_profiles_a_pool_and_goes_on(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text("[environments.math]\ntasks = 3\n[grpo]\nmax_output_tokens = 4\nprofile_repeats = 2\n")
    model, output = checkpoint(tmp_path / "m"), tmp_path / "p.jsonl"
    asked = ["profile", str(model), "--recipe", str(recipe), "--output", str(output), "--json"]
    done = CliRunner().invoke(cli, [*asked, "--store", str(tmp_path / "s.db")], catch_exceptions=False)
    told = msgspec.json.decode(done.stdout)
    assert told["repeats"] == 2
    assert told["environments"][0]["tasks"] == told["environments"][0]["profiled"] == 3
    written = output.read_bytes()
    assert {p.count for p in read_profiles(output, fingerprint(model)).values()} == {2}
    assert CliRunner().invoke(cli, asked, catch_exceptions=False).exit_code == 0
    assert output.read_bytes() == written
    other = checkpoint(tmp_path / "n", seed=1)
    refused = CliRunner().invoke(cli, ["profile", str(other), *asked[2:]])
    assert isinstance(refused.exception, BadRequest) and "--fresh" in refused.exception.hint
