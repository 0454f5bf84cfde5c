from pathlib import Path

import pytest
from msgspec.structs import replace

from gym_core.errors import BadRequest
from trainer.checkpointing import Checkpoints, State, check_recipe, read_state
from trainer.placement import LocalPlacement


class FakeLearner:
    """Writes one file; `fail` makes it stop half-way."""

    fail = False

    def save(self, directory: str) -> None:
        Path(directory, "weights").write_text("half")
        if self.fail:
            raise OSError("disk full")
        Path(directory, "weights").write_text("whole")


@pytest.fixture
async def learner():
    placement = LocalPlacement()
    yield await placement.place(FakeLearner)
    await placement.close()


def state(step: int) -> State:
    return State(step=step, version=step + 1, recipe={"seed": 0}, curriculum={"maths": {"epoch": 1}})


async def test_a_checkpoint_is_read_back(tmp_path: Path, learner) -> None:
    path = await Checkpoints(tmp_path).save(learner, state(10))
    assert path == tmp_path / "step-000010"
    assert (path / "weights").read_text() == "whole"
    assert read_state(path) == state(10)


async def test_the_newest_stay(tmp_path: Path, learner) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.latest() is None
    for step in (10, 20, 30):
        await checkpoints.save(learner, state(step))
    assert [path.name for path in checkpoints.all()] == ["step-000020", "step-000030"]
    assert checkpoints.latest() == tmp_path / "step-000030"


async def test_the_best_by_reward_and_the_plateaus_best_stay_beside_the_newest(tmp_path: Path, learner) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    told = {10: (0.50, 10), 20: (0.505, 10), 30: (0.40, 10), 40: (0.45, 10)}  # 20 is not better by the margin
    for step, (score, plateau_best) in told.items():
        await checkpoints.save(learner, replace(state(step), score=score, plateau_best=plateau_best))
    assert [read_state(path).step for path in checkpoints.all()] == [10, 20, 40]
    assert checkpoints.best() == tmp_path / "step-000020"
    assert checkpoints.of(10) == tmp_path / "step-000010"
    again = await checkpoints.save(learner, replace(state(40), score=0.45, plateau_best=40))
    assert checkpoints.of(40) == again
    assert checkpoints.of(10) is None, "the plateau's best is another one now"
    assert (tmp_path / "best").resolve() == (tmp_path / "step-000020").resolve()


async def test_one_that_was_not_finished_does_not_exist(tmp_path: Path) -> None:
    placement = LocalPlacement()
    learner = await placement.place(FakeLearner)
    checkpoints = Checkpoints(tmp_path)
    await checkpoints.save(learner, state(10))
    broken = await placement.place(type("Broken", (FakeLearner,), {"fail": True}))
    with pytest.raises(OSError, match="disk full"):
        await checkpoints.save(broken, state(20))
    assert checkpoints.latest() == tmp_path / "step-000010"
    await checkpoints.save(learner, state(20))
    assert checkpoints.latest() == tmp_path / "step-000020"
    assert not list(tmp_path.glob(".partial-*"))
    await placement.close()


async def test_saving_a_step_again_replaces_it(tmp_path: Path, learner) -> None:
    checkpoints = Checkpoints(tmp_path)
    await checkpoints.save(learner, state(10))
    newer = State(step=10, version=11, recipe={"seed": 1})
    assert read_state(await checkpoints.save(learner, newer)) == newer


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"no state\.json"):
        read_state(tmp_path)
    (tmp_path / "state.json").write_text('{"step": "x"}')
    with pytest.raises(BadRequest, match="cannot be read"):
        read_state(tmp_path)
    (tmp_path / "state.json").write_text('{"step": 1, "version": 2, "recipe": {}, "checkpoint_version": 99}')
    with pytest.raises(BadRequest, match="version 99"):
        read_state(tmp_path)


def test_another_recipe_is_refused_by_name() -> None:
    check_recipe({"seed": 1, "grpo": {"lr": 1}}, {"seed": 1, "grpo": {"lr": 1}})
    check_recipe({"layout": {"dp": 2}, "policy": {"replicas": 2}}, {"layout": {"dp": 1}, "policy": {"replicas": 1}})
    with pytest.raises(BadRequest, match="`policy`"):
        check_recipe({"policy": {"replicas": 2, "tp": 1}}, {"policy": {"replicas": 2, "tp": 2}})
    with pytest.raises(BadRequest, match="`grpo`") as caught:
        check_recipe({"seed": 1, "grpo": {"lr": 1}}, {"seed": 1, "grpo": {"lr": 2}})
    assert caught.value.field == "grpo"


async def test_what_a_process_that_died_in_save_left_is_ended(tmp_path: Path, learner) -> None:
    """Killed after the last save of a run, nothing would be saved again that could tidy up."""
    assert Checkpoints(tmp_path / "new").tidy() is None
    for step in (10, 20, 30):
        await Checkpoints(tmp_path, keep=5).save(learner, state(step))
    (tmp_path / "latest").unlink()
    (tmp_path / "latest").symlink_to("step-000010")
    for left in (".partial-step-000040", ".old-step-000005"):
        (tmp_path / left).mkdir()
    assert Checkpoints(tmp_path, keep=1).tidy() == tmp_path / "step-000030"
    assert sorted(path.name for path in tmp_path.glob("*")) == ["latest", "step-000030"]
    assert (tmp_path / "latest").resolve() == tmp_path / "step-000030"
