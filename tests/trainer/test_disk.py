"""A full disk is one typed error, whoever was writing, and what stood there before stands there still."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from trainer.build import build_learner
from trainer.checkpointing import Checkpoints, State, read_state
from trainer.config import parse_recipe
from trainer.disk import DiskFull, space_for
from trainer.journal import Journal
from trainer.placement import LocalPlacement

RECIPE = parse_recipe({"name": "r", "environments": {"a": {}}, "vocab_size": 32})


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), space_for(tmp_path, "checkpoint"):
        raise PermissionError(errno.EACCES, "no")
    with pytest.raises(ValueError, match="unrelated"), space_for(tmp_path, "checkpoint"):
        raise ValueError("unrelated")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_want_of_space_is_typed_and_names_file_stage_and_way_out(tmp_path: Path, number: int) -> None:
    with pytest.raises(DiskFull) as caught, space_for(tmp_path / "asked", "checkpoint"):
        raise OSError(number, "no room", "/disk/file")
    info = caught.value.info()
    assert (info.code, info.stage) == ("disk_full", "checkpoint")
    assert "/disk/file" in info.message and "--resume" in info.hint


def test_an_error_that_only_tells_of_it_counts_too(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match="asked: No space left"), space_for(tmp_path / "asked", "weights"):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize(("file", "spare"), [("model.safetensors", -1000), ("learner.pt", 1000)])
async def test_a_checkpoint_without_room_leaves_the_last_one(
    tmp_path: Path, small_files, make_samples, file: str, spare: int
) -> None:
    placement = LocalPlacement()
    learner = await placement.place(build_learner, RECIPE)
    await learner.call("begin", "grpo", 1e-3)
    await learner.call("step", make_samples(build_learner(RECIPE).model, vocab_size=32))
    checkpoints = Checkpoints(tmp_path)
    await checkpoints.save(learner, State(step=10, version=11, recipe={}))
    model = (tmp_path / "step-000010" / "model" / "model.safetensors").stat().st_size
    with pytest.raises(DiskFull, match=rf"step-000020/\S*{file}: File too large"), small_files(model + spare):
        await checkpoints.save(learner, State(step=20, version=21, recipe={}))
    assert [path.name for path in checkpoints.all()] == ["step-000010"]
    assert not list(tmp_path.glob(".partial-*")), "what was half-written would only keep the disk full"
    await checkpoints.save(learner, State(step=20, version=21, recipe={}))
    assert read_state(tmp_path / "latest").step == 20
    await learner.call("load", str(tmp_path / "latest"), 1e-3)
    await placement.close()


def test_weights_without_room_are_not_published(tmp_path: Path, small_files) -> None:
    learner = build_learner(RECIPE)
    with pytest.raises(DiskFull, match="weights-2"), small_files(4_000):
        learner.export(tmp_path / "weights-2.safetensors")


def test_a_journal_line_without_room_is_taken_back(tmp_path: Path, group, small_files) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.commit(0, 2, [group([1.0])], {"loss": 0.5})
    before = journal.path.read_bytes()
    with pytest.raises(DiskFull, match=r"journal\.jsonl"), small_files(len(before) + 10):
        journal.commit(1, 3, [group([1.0])], {"loss": 0.4})
    assert journal.path.read_bytes() == before
    journal.commit(1, 3, [group([1.0])], {"loss": 0.4})
    assert [entry.step for entry in journal.entries()] == [0, 1]
