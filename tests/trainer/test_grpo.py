"""The whole loop in one process: a fake agent server that samples from the weights it was sent, over real HTTP."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from aiohttp import web
from msgspec.structs import replace
from safetensors.torch import load_file

from gym_core.contracts import ErrorInfo, Outcome, Rollout, TaskProfile, TraceInfo, Verdict
from gym_core.errors import Conflict, PalaestraError, PolicyFault, UnknownName
from gym_core.serve import harden
from gym_core.tokens import FRAME_TYPE, NO_VERSION, TokenTrace, encode_segment, pack_frame, unpack_frame
from model import checkpoint
from trainer.build import build_learner
from trainer.checkpointing import Checkpoints, read_state
from trainer.collect import AgentPool
from trainer.config import ObjectiveRecipe, Recipe, parse_recipe
from trainer.curriculum import Curriculum
from trainer.disk import DiskFull
from trainer.grpo import STAGES, Event, Grpo, Profiler, Validator
from trainer.journal import Journal
from trainer.learner import Learner
from trainer.metrics import CallbackWriter
from trainer.mismatch import MismatchExceeded
from trainer.pack import Sample
from trainer.placement import LocalPlacement
from trainer.publisher import CanaryFault, PublishFault, WeightPublisher, probe_rows
from trainer.recall import Recall

VOCAB, NEW = 12, 3
RECIPE = parse_recipe(
    {
        "name": "toy",
        "vocab_size": VOCAB,
        "environments": {"copy": {}, "echo": {}},
        "checkpoint_every": 1,
        "model": {
            "hidden_size": 16,
            "hybrid_override_pattern": "ME*",
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 8,
            "mamba_head_dim": 8,
            "ssm_state_size": 8,
            "n_routed_experts": 4,
            "moe_intermediate_size": 8,
            "moe_shared_expert_intermediate_size": 8,
        },
        "grpo": {"steps": 4, "prompts_per_step": 4, "group_size": 4, "lr": 1e-2, "max_output_tokens": NEW},
    }
)


class World:
    """Agent, environment and policy servers in one: copies of a token are rewarded. Its faults are attributes."""

    KEYS = ("rollout_id", "run_id", "group_id", "group_size", "repeat", "seed", "step")

    def __init__(self, recipe: Recipe) -> None:
        self.model = build_learner(recipe).model
        self.version = -1
        self.broken_environments: set[str] = set()
        self.fail_rollouts_at: int | None = None
        self.refuse_weights_of: int | None = None
        self.perturb = 0.0
        self.stale = False
        self.seed_shift = 0
        self.num_asked = 0
        self.store: dict[str, bytes] = {}

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/rollouts", self.rollouts)
        app.router.add_get("/rollouts/{rollout_id:.+}", self.show)
        app.router.add_post("/weights", self.weights)
        app.router.add_post("/score", self.score)
        return harden(app, "world")

    async def weights(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["version"] == self.refuse_weights_of:
            raise Conflict("no room", server="policy")
        tensors = load_file(body["path"])
        if not (self.stale and self.version > 0):
            checkpoint.load_tensors(self.model, tensors)
        self.version = body["version"]
        held = checkpoint.checksum(checkpoint.state_tensors(self.model))
        return web.json_response({"version": self.version, "checksums": held})

    async def score(self, request: web.Request) -> web.Response:
        sequences = (await request.json())["token_ids"]
        scores = Learner(self.model, RECIPE.grpo, ObjectiveRecipe()).score(sequences)
        rows = [s.tolist() for s in scores]
        return web.json_response({"logprobs": rows, "decode_logprobs": rows, "policy_version": self.version})

    async def rollouts(self, request: web.Request) -> web.StreamResponse:
        rows = (await request.json())["rows"]
        self.num_asked += len(rows)
        if rows[0]["palaestra"]["step"] == self.fail_rollouts_at:
            raise PolicyFault("the policy server is gone", server="agent")
        response = web.StreamResponse(headers={"Content-Type": FRAME_TYPE})
        await response.prepare(request)
        for row, frame in zip(rows, self.play(rows), strict=True):
            self.store.setdefault(row["palaestra"]["rollout_id"], frame)
            await response.write(frame)
        return response

    async def show(self, request: web.Request) -> web.Response:
        frame = self.store.get(request.match_info["rollout_id"])
        if frame is None:
            raise UnknownName("no such rollout")
        return web.Response(body=frame, content_type=FRAME_TYPE)

    @torch.no_grad()
    def play(self, rows: list[dict[str, Any]]) -> list[bytes]:
        self.model.eval()
        sequences = [[1, row["token"]] for row in rows]
        logprobs: list[list[float]] = [[] for _ in rows]
        generators = [
            torch.Generator().manual_seed((row["palaestra"]["seed"] + self.seed_shift) % 2**63) for row in rows
        ]
        for _ in range(NEW):
            tables = self.next_logprobs(sequences)
            for i, table in enumerate(tables):
                token = int(torch.multinomial(table.exp(), 1, generator=generators[i]))
                sequences[i].append(token)
                logprobs[i].append(float(table[token]) + self.perturb)
        return [self.frame(*played) for played in zip(rows, sequences, logprobs, strict=True)]

    def next_logprobs(self, sequences: list[list[int]]) -> torch.Tensor:
        """[S, V]: log-probabilities of every next token."""
        ends = torch.tensor([len(s) for s in sequences]).cumsum(0)
        cu_seqlens = torch.cat([torch.zeros(1, dtype=torch.long), ends]).int()
        hidden = self.model(torch.tensor([token for ids in sequences for token in ids]), cu_seqlens)[ends - 1]
        targets = torch.arange(VOCAB).repeat(len(sequences))
        return self.model.token_logprobs(hidden.repeat_interleave(VOCAB, 0), targets)[0].view(-1, VOCAB)

    def frame(self, row: dict[str, Any], ids: list[int], logprobs: list[float]) -> bytes:
        options = row["palaestra"]
        failed = row["environment"] in self.broken_environments
        mask = np.arange(len(ids)) >= 2
        blob = encode_segment(
            TokenTrace(np.array(ids), np.array([0.0, 0.0, *logprobs]), mask, np.where(mask, self.version, NO_VERSION))
        )
        rollout = Rollout(
            **{key: options[key] for key in self.KEYS},
            environment=row["environment"],
            task_id=row["task_id"],
            outcome=Outcome.ENV_ERROR if failed else Outcome.SCORED,
            verdict=None if failed else Verdict(reward=sum(t == row["token"] for t in ids[2:]) / NEW),
            error=ErrorInfo(code="environment_fault", message="it broke") if failed else None,
            policy_version_min=self.version,
            policy_version_max=self.version,
            traces=[TraceInfo(offset=0, num_bytes=len(blob), num_tokens=len(ids), num_trainable=NEW)],
        )
        return pack_frame(msgspec.json.encode(rollout), blob)


def rows(environment: str) -> list[dict[str, Any]]:
    return [
        {"environment": environment, "task_id": f"{environment}-{i}", "token": 2 + i % (VOCAB - 2)} for i in range(12)
    ]


class SpyLearner(Learner):
    """Keeps the batches it was given."""

    def step(self, samples: list[Sample], step: int = 0) -> dict[str, float]:
        self.batches = [*getattr(self, "batches", []), samples]
        return super().step(samples, step)


def spy(recipe: Recipe) -> SpyLearner:
    return SpyLearner(build_learner(recipe).model, recipe.learning, recipe.objective, seed=recipe.seed)


class Run:
    """A run in `directory` against a world: everything made anew, as a new process would."""

    def __init__(self, directory: Path, world: World, client: Any, recipe: Recipe = RECIPE) -> None:
        self.directory, self.world, self.client, self.recipe = directory, world, client, recipe
        self.events: list[Event] = []
        self.written: list[tuple[int, dict[str, float]]] = []
        self.learner: SpyLearner
        self.validate: Validator | None = None
        self.profile: Profiler | None = None
        self.curriculum: Curriculum
        self.journal = Journal(directory / "journal.jsonl")
        self.checkpoints = Checkpoints(directory / "checkpoints")

    async def go(self) -> int:
        placement = LocalPlacement()
        handle = await placement.place(spy, self.recipe)
        self.learner = handle._object  # type: ignore[attr-defined]
        g = self.recipe.grpo
        publisher = WeightPublisher(self.client, probe_rows(VOCAB, count=2, length=8))
        run = Grpo(
            self.recipe,
            learner=handle,
            agents=AgentPool(self.client, run_id="run", seed=self.recipe.seed),
            publisher=publisher,
            curriculum=Curriculum(
                {name: rows(name) for name in self.recipe.environments},
                {name: mix.weight for name, mix in self.recipe.environments.items()},
                prompts_per_step=g.prompts_per_step,
                steps=g.steps,
                seed=self.recipe.seed,
            ),
            journal=self.journal,
            checkpoints=self.checkpoints,
            writers=[CallbackWriter(lambda step, values: self.written.append((step, dict(values))))],
            on_event=self.events.append,
            validate=self.validate,
            profile=self.profile,
        )
        self.curriculum = run.curriculum
        try:
            return await run.run()
        finally:
            await publisher.close()
            await placement.close()

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self.learner.model.state_dict().items()}


@pytest.fixture
def begin(connect, tmp_path: Path) -> Callable[..., Any]:
    async def make(name: str = "run", recipe: Recipe = RECIPE, **faults: Any) -> Run:
        world = World(recipe)
        for fault, value in faults.items():
            setattr(world, fault, value)
        return Run(tmp_path / name, world, await connect(world.app()), recipe)

    return make


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


async def test_four_steps_end_to_end(begin) -> None:
    run = await begin()
    start = {name: tensor.clone() for name, tensor in run.world.model.state_dict().items()}
    assert await run.go() == 4
    assert_same(run.weights(), run.world.model.state_dict())
    assert any(not torch.equal(value, start[name]) for name, value in run.weights().items())
    assert run.world.version == 5, "the warm start is version 1, four steps make four more"
    entries = run.journal.entries()
    assert [(entry.step, entry.version, len(entry.groups)) for entry in entries] == [(i, i + 2, 4) for i in range(4)]
    for step, metrics in run.written:
        assert metrics["token_mult_prob_error"] <= 1.001
        assert metrics["publish/canary_error"] <= 1.001
        assert metrics["policy_lag_max"] == 0
        assert metrics["outcome/scored"] == 16
        assert {"reward/copy", "reward/echo", "curriculum/target_mean"} <= metrics.keys(), step
        # A step in which every group is of one mind has no gradient.
        assert ("grad_norm" in metrics) == ("entropy" in metrics) == (metrics["num_valid_samples"] > 0), step
    assert any("grad_norm" in metrics for _, metrics in run.written)
    kinds = [event.kind for event in run.events if event.kind != "stage"]
    assert kinds == ["start", *["rollouts", "step", "checkpoint"] * 4]
    stages = [event.text for event in run.events if event.kind == "stage"]
    assert stages == [stage for stage in STAGES if stage != "validate"] * 4


async def test_reward_rises_and_shuffled_does_not(begin) -> None:
    grpo = replace(RECIPE.grpo, steps=25, group_size=8, prompts_per_step=8)
    rises = {}
    for arm in ("grpo", "shuffled"):
        run = await begin(arm, replace(RECIPE, grpo=grpo, arm=arm, checkpoint_every=25))
        await run.go()
        rewards = [metrics["reward"] for _, metrics in run.written]
        rises[arm] = sum(rewards[-5:]) / 5 - sum(rewards[:5]) / 5
    assert rises["grpo"] > 0.08, rises
    assert rises["shuffled"] < 0.05, rises


async def stop_at(run: Run, match: str) -> None:
    with pytest.raises(PalaestraError, match=match):
        await run.go()
    assert run.events[-1].kind == "failed"


async def test_a_run_that_failed_before_training_resumes_bit_for_bit(begin) -> None:
    straight = await begin("straight")
    await straight.go()
    broken = await begin("broken", fail_rollouts_at=2)
    await stop_at(broken, "the policy server is gone")
    assert read_state(broken.checkpoints.latest()).step == 2
    resumed = await begin("broken")
    assert await resumed.go() == 2
    assert resumed.events[0].kind == "resume"
    assert_same(straight.weights(), resumed.weights())
    assert [e.metrics.get("loss") for e in resumed.journal.entries()] == [
        e.metrics.get("loss") for e in straight.journal.entries()
    ]


async def test_a_run_that_failed_after_training_resumes_bit_for_bit(begin) -> None:
    straight = await begin("straight")
    await straight.go()
    broken = await begin("broken", refuse_weights_of=4)
    await stop_at(broken, "no room")
    assert read_state(broken.checkpoints.latest()).step == 3, "it was trained: that is kept"
    resumed = await begin("broken")
    assert await resumed.go() == 1
    assert_same(straight.weights(), resumed.weights())


async def test_what_was_played_before_is_taken_again_not_played_again(begin) -> None:
    every_other = replace(RECIPE, checkpoint_every=2)
    straight = await begin("straight", every_other)
    await straight.go()
    # killed at its third step's end: the journal has steps 0 to 2, the last checkpoint is at 2
    killed = await begin("killed", every_other, refuse_weights_of=4)
    killed.checkpoints.save = no_more_saves_after(killed, 2)
    await stop_at(killed, "no room")
    assert [entry.step for entry in killed.journal.entries()] == [0, 1, 2]
    # another sampler would now give other tokens for the same seeds
    resumed = await begin("killed", every_other, seed_shift=1, store=killed.world.store)
    assert await resumed.go() == 2
    assert resumed.written[0][1]["rollouts/recalled"] == 16
    assert resumed.written[1][1]["rollouts/recalled"] == 0
    assert resumed.world.num_asked == 16, "the last step alone"
    assert straight.journal.entries()[2].groups == resumed.journal.entries()[2].groups
    for one, other in zip(straight.learner.batches[2], resumed.learner.batches[0], strict=True):
        assert one.token_ids.tolist() == other.token_ids.tolist()
        assert one.logprobs.tolist() == other.logprobs.tolist()


def no_more_saves_after(run: Run, step: int):
    save = run.checkpoints.save

    async def until(learner: Any, state: Any) -> Path:
        if state.step > step:
            raise OSError("killed")
        return await save(learner, state)

    return until


async def test_a_step_that_broke_off_keeps_its_finished_rollouts_and_retries_the_failed(begin) -> None:
    broken = await begin("run", broken_environments={"copy", "echo"})
    await stop_at(broken, "none of 16")
    first = {name: frame for name, frame in broken.world.store.items() if name < "run/train/0/1"}
    whole = World(RECIPE)
    whole.version = 1
    good = dict(zip(first, whole.play([row_of(frame) for frame in first.values()]), strict=True))
    resumed = await begin("run", store={**broken.world.store, **good})
    await resumed.go()
    (step_0, *_) = resumed.journal.entries()
    names = sorted(name for members in step_0.groups.values() for name, _, _ in members)
    assert names == sorted([*first, *(f"{name}~1" for name in broken.world.store if name not in first)])
    assert {outcome for members in step_0.groups.values() for _, outcome, _ in members} == {"scored"}
    assert resumed.written[0][1]["rollouts/recalled"] == 4


def row_of(frame: bytes) -> dict[str, Any]:
    """The row that a frame of `World` was played from."""
    rollout = msgspec.json.decode(unpack_frame(frame)[0], type=Rollout)
    options = {key: getattr(rollout, key) for key in World.KEYS}
    (row,) = [row for row in rows(rollout.environment) if row["task_id"] == rollout.task_id]
    return {**row, "palaestra": options}


async def test_a_finished_run_has_nothing_left_to_do(begin) -> None:
    run = await begin()
    await run.go()
    again = await begin()
    assert await again.go() == 0
    assert_same(run.weights(), again.weights())


async def test_another_recipe_does_not_resume(begin) -> None:
    run = await begin()
    await run.go()
    other = await begin(recipe=replace(RECIPE, seed=1))
    with pytest.raises(PalaestraError, match="`seed`"):
        await other.go()


async def test_failed_rollouts_reach_no_advantage(begin) -> None:
    run = await begin(broken_environments={"echo"})
    await run.go()
    for samples, (_, metrics) in zip(run.learner.batches, run.written, strict=True):
        assert len(samples) == 8, "four of copy's two prompts each, none of echo's"
        assert metrics["outcome/env_error"] == 8
        assert "reward/echo" not in metrics
    for entry in run.journal.entries():
        for group in entry.groups.values():
            assert all((reward is None) == (outcome == "env_error") for _, outcome, reward in group)


async def test_when_everything_fails_the_run_stops_with_its_state_saved(begin) -> None:
    run = await begin(broken_environments={"copy", "echo"})
    await stop_at(run, "none of 16 rollouts was scored.*it broke")
    assert read_state(run.checkpoints.latest()).step == 0
    resumed = await begin()
    assert await resumed.go() == 4


async def test_the_shuffled_arm_permutes_what_the_learner_sees(begin) -> None:
    real = await begin("real", replace(RECIPE, grpo=replace(RECIPE.grpo, steps=1)))
    mixed = await begin("mixed", replace(RECIPE, arm="shuffled", grpo=replace(RECIPE.grpo, steps=1)))
    await real.go()
    await mixed.go()
    one, other = real.learner.batches[0], mixed.learner.batches[0]
    assert [s.token_ids.tolist() for s in one] == [s.token_ids.tolist() for s in other]
    assert [s.advantage for s in one] != [s.advantage for s in other]
    assert real.written[0][1]["reward"] == mixed.written[0][1]["reward"], "what is reported stays the truth"


async def test_a_sampler_that_lies_is_refused_before_it_trains(begin) -> None:
    run = await begin(perturb=0.01)
    before = {name: tensor.clone() for name, tensor in run.world.model.state_dict().items()}
    with pytest.raises(MismatchExceeded):
        await run.go()
    assert_same(before, run.weights())
    assert read_state(run.checkpoints.latest()).step == 0


async def test_a_server_that_keeps_its_old_weights_is_caught(begin) -> None:
    run = await begin(stale=True)
    with pytest.raises((PublishFault, CanaryFault)):
        await run.go()
    assert run.world.num_asked == 16, "nothing more was sampled from them"


async def test_profiling_comes_first_and_fills_the_curriculum(begin) -> None:
    run = await begin(recipe=replace(RECIPE, grpo=replace(RECIPE.grpo, steps=1, profile_repeats=2)))
    await run.go()
    assert run.world.num_asked == 24 * 2 + 16
    assert [event.kind for event in run.events][:2] == ["profile", "start"]
    saved = read_state(run.checkpoints.latest()).curriculum
    assert all(len(pool["profiles"]) == 12 for pool in saved.values())


async def test_validation_comes_every_so_many_steps_and_is_written_with_them(begin) -> None:
    run = await begin(recipe=parse_recipe({**msgspec.to_builtins(RECIPE), "eval": {"every": 2}}))
    asked = []

    async def validate(done: int, recalled: Recall | None) -> dict[str, float]:
        asked.append((done, run.world.version, recalled))
        return {"val/reward": done / 10}

    run.validate = validate
    assert await run.go() == 4
    assert asked == [(2, 3, None), (4, 5, None)], "with the weights of after the step, and nothing to recall"
    assert [values.get("val/reward") for _, values in run.written] == [None, 0.2, None, 0.4]


async def test_a_validation_that_fails_stops_no_training(begin) -> None:
    run = await begin(recipe=parse_recipe({**msgspec.to_builtins(RECIPE), "eval": {"every": 3}}))

    async def validate(done: int, recalled: Recall | None) -> dict[str, float]:
        raise PolicyFault("nobody answers")

    run.validate = validate
    assert await run.go() == 4
    assert [(event.step, event.text) for event in run.events if event.kind == "unvalidated"] == [(2, "nobody answers")]
    assert not any("val/reward" in values for _, values in run.written)


async def test_a_full_disk_stops_the_run_and_nothing_is_corrupt_once_there_is_room(begin, small_files) -> None:
    straight = await begin("straight")
    await straight.go()
    full = await begin("full")
    save = full.checkpoints.save

    async def without_room(learner: Any, state: Any) -> Path:
        if state.step < 3:
            return await save(learner, state)
        with small_files(2000):
            return await save(learner, state)

    full.checkpoints.save = without_room
    with pytest.raises(DiskFull, match=r"step-000003/\S+: File too large"):
        await full.go()
    assert full.events[-1].kind == "failed"
    assert [read_state(path).step for path in full.checkpoints.all()] == [1, 2]
    resumed = await begin("full", store=full.world.store)
    assert await resumed.go() == 2
    assert_same(straight.weights(), resumed.weights())
    assert [e.groups for e in resumed.journal.entries()] == [e.groups for e in straight.journal.entries()]


async def test_a_journal_that_has_no_room_leaves_the_step_to_the_resume(begin, small_files) -> None:
    straight = await begin("straight")
    await straight.go()
    full = await begin("full")
    commit = full.journal.commit

    def without_room(step: int, *args: Any, **more: Any) -> None:
        with small_files(full.journal.path.stat().st_size + 100 if step == 2 else 1 << 30):
            commit(step, *args, **more)

    full.journal.commit = without_room
    with pytest.raises(DiskFull, match=r"journal\.jsonl: File too large"):
        await full.go()
    assert [entry.step for entry in Journal(full.journal.path).entries()] == [0, 1]
    assert read_state(full.checkpoints.latest()).step == 2
    resumed = await begin("full", store=full.world.store)
    assert await resumed.go() == 2
    assert_same(straight.weights(), resumed.weights())


async def test_the_best_checkpoint_is_that_of_the_highest_held_out_reward_and_is_kept(begin) -> None:
    run = await begin(recipe=parse_recipe({**msgspec.to_builtins(RECIPE), "eval": {"every": 1}, "checkpoint_every": 4}))
    rewards = {1: 0.2, 2: 0.7, 3: 0.5, 4: 0.6}

    async def validate(done: int, recalled: Recall | None) -> dict[str, float]:
        return {"val/reward": rewards[done]}

    run.validate, run.checkpoints.keep = validate, 1
    await run.go()
    assert [read_state(path).step for path in run.checkpoints.all()] == [2, 4]
    assert read_state(run.checkpoints.directory / "best").step == 2
    assert read_state(run.checkpoints.directory / "latest").step == 4
    assert [event.step for event in run.events if event.kind == "checkpoint"] == [1, 2, 4], "3 was neither due nor best"


async def test_a_step_that_is_drawn_otherwise_than_the_journal_says_is_refused(begin) -> None:
    every_other = replace(RECIPE, checkpoint_every=2)
    run = await begin(recipe=every_other, refuse_weights_of=4)
    run.checkpoints.save = no_more_saves_after(run, 2)
    await stop_at(run, "no room")
    text = run.journal.path.read_text().splitlines()
    entry = msgspec.json.decode(text[2])
    entry["tasks"][0][1] = "copy-99"
    run.journal.path.write_text("\n".join([*text[:2], msgspec.json.encode(entry).decode()]) + "\n")
    resumed = await begin(recipe=every_other)
    await stop_at(resumed, "step 2 is not drawn as the journal says.*copy-99")


OVERLAPPED = parse_recipe({**msgspec.to_builtins(RECIPE), "overlap": {"steps": 1, "gate": 3.0}})


class Paused(World):
    """Publishes of a version wait until the next step's rollouts were asked for, as they are when training is long."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.asked_for: dict[int, asyncio.Event] = defaultdict(asyncio.Event)

    async def rollouts(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        response = await super().rollouts(request)
        self.asked_for[body["rows"][0]["palaestra"]["step"]].set()
        return response

    async def weights(self, request: web.Request) -> web.Response:
        version = (await request.json())["version"]
        if 2 <= version <= OVERLAPPED.grpo.steps and not self.store_has(version - 1):
            await self.asked_for[version - 1].wait()
        return await super().weights(request)

    def store_has(self, step: int) -> bool:
        return any(name.split("/")[2] == str(step) for name in self.store)


async def overlapped(connect, folder: Path, store: dict[str, bytes] | None = None) -> Run:
    world = Paused(OVERLAPPED)
    world.store = {} if store is None else store
    return Run(folder, world, await connect(world.app()), OVERLAPPED)


async def test_with_overlap_each_step_but_the_first_is_one_version_old(connect, tmp_path: Path) -> None:
    run = await overlapped(connect, tmp_path)
    assert await run.go() == 4
    assert [metrics["policy_lag_mean"] for _, metrics in run.written] == [0, 1, 1, 1]
    assert [metrics["stale_token_share"] for _, metrics in run.written] == [0, 1, 1, 1]
    assert run.world.num_asked == 4 * 16, "nothing is played beyond the last step"
    late = [metrics["token_mult_prob_error"] for _, metrics in run.written[1:] if "grad_norm" in metrics]
    assert max(late) > OVERLAPPED.grpo.mismatch_gate, "the gate of fresh tokens would have refused them"
    assert run.written[0][1]["token_mult_prob_error"] <= 1.001


async def test_a_run_with_overlap_resumes_with_the_tasks_and_rollouts_it_had(connect, tmp_path: Path) -> None:
    straight = await overlapped(connect, tmp_path / "straight")
    await straight.go()
    broken = await overlapped(connect, tmp_path / "run")
    broken.world.refuse_weights_of = 3
    await stop_at(broken, "no room")
    assert list(read_state(broken.checkpoints.latest()).drawn) == [2], "the step that was being played is drawn"
    resumed = await overlapped(connect, tmp_path / "run", broken.world.store)
    assert await resumed.go() == 2
    assert resumed.written[0][1]["rollouts/recalled"] == 16
    assert [e.tasks for e in resumed.journal.entries()] == [e.tasks for e in straight.journal.entries()]
    assert_same(straight.weights(), resumed.weights())


PLATEAU = replace(
    RECIPE,
    checkpoint_every=100,
    keep_checkpoints=1,
    eval=replace(RECIPE.eval, every=1),
    grpo=replace(RECIPE.grpo, steps=6, profile_repeats=2, plateau_patience=2),
)
REWARDS = {1: 0.2, 2: 0.5, 3: 0.505, 4: 0.4, 5: 0.3, 6: 0.3}
"""After so many steps. The third is not better than the second by the margin; the fourth makes it two in a row."""


def on_a_plateau(run: Run, asked: list[tuple[str, int]], fault: PalaestraError | None = None) -> Run:
    """Validates by `REWARDS`; says of every task that it passes one of four times, of the first that it always does."""
    run.checkpoints.keep = 1

    async def validate(done: int, recalled: Recall | None) -> dict[str, float]:
        return {"val/reward": REWARDS[done]}

    async def profile(path: Path, step: int) -> list[TaskProfile]:
        assert (path / "model" / "config.json").is_file(), "the best checkpoint is still there"
        asked.append((path.name, step))
        if fault is not None:
            raise fault
        tasks = [(name, row["task_id"]) for name in ("copy", "echo") for row in rows(name)]
        return [
            TaskProfile(environment=e, task_id=t, checkpoint=path.name, passes=4 if t.endswith("-0") else 1, count=4)
            for e, t in tasks
        ]

    run.validate, run.profile = validate, profile
    return run


async def test_on_a_plateau_the_pools_are_profiled_with_the_best_checkpoint(begin) -> None:
    asked: list[tuple[str, int]] = []
    run = on_a_plateau(await begin(recipe=PLATEAU), asked)
    await run.go()
    assert asked == [("step-000002", 4)]
    told = [(event.step, event.text, event.values) for event in run.events if event.kind == "profile"]
    assert told[0][0] == 0, "the first profile is of the start"
    assert told[1:] == [(4, "step-000002", {"tasks": 24, "dropped": 2})]
    kept = {path.name for path in run.checkpoints.all()}
    assert kept == {"step-000002", "step-000003", "step-000006"}, "the plateau's, the one of the highest, the newest"
    assert read_state(run.checkpoints.directory / "best").step == 3, "the highest, though not by the plateau's margin"
    assert read_state(run.checkpoints.directory / "latest").plateau_best == 2
    assert run.curriculum.pools["copy"].dropped == {"copy-0"}
    after = {m for step, metrics in run.written if step >= 4 for m in metrics}
    assert {"curriculum/target/0.5", "curriculum/achieved/0.3"} <= after


async def test_a_run_killed_while_it_profiles_again_does_so_when_resumed(begin) -> None:
    straight = on_a_plateau(await begin("straight", PLATEAU), [])
    await straight.go()
    killed = on_a_plateau(await begin("killed", PLATEAU), [], fault=KilledError())  # type: ignore[arg-type]
    with pytest.raises(KilledError):
        await killed.go()
    asked: list[tuple[str, int]] = []
    resumed = on_a_plateau(await begin("killed", PLATEAU), asked)
    assert await resumed.go() == 2
    assert asked == [("step-000002", 4)]
    assert_same(straight.weights(), resumed.weights())
    assert straight.curriculum.state_dict() == resumed.curriculum.state_dict()


async def test_profiles_that_cannot_be_had_stop_no_training(begin) -> None:
    run = on_a_plateau(await begin(recipe=PLATEAU), [], fault=PolicyFault("nobody plays"))
    assert await run.go() == 6
    assert [(event.step, event.text) for event in run.events if event.kind == "unprofiled"] == [(4, "nobody plays")]


class KilledError(Exception):
    """Stands for a process that ends: nothing catches it."""
