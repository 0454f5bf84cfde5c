import itertools
from pathlib import Path

import numpy as np
import pytest

from gym_core.errors import BadRow
from trainer.config import GrpoRecipe, ObjectiveRecipe, SftRecipe
from trainer.learner import Learner
from trainer.pack import Sample
from trainer.placement import LocalPlacement
from trainer.sft import batches, read_demonstrations, warm_start


def numbered(count: int) -> list[Sample]:
    mask = np.array([False, True])
    return [Sample(np.array([i, i]), mask, np.zeros(2, np.float32)) for i in range(count)]


def ids(batch: list[Sample]) -> list[int]:
    return [int(sample.token_ids[0]) for sample in batch]


def test_demonstrations_are_read(tmp_path: Path) -> None:
    file = tmp_path / "demos.jsonl"
    file.write_text('{"token_ids":[1,2,3],"loss_mask":[0,0,1],"environment":"maths"}\n\n')
    (sample,) = read_demonstrations(file)
    assert sample.token_ids.tolist() == [1, 2, 3]
    assert sample.loss_mask.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"token_ids": [1, 2]}', "loss_mask"),
        ('{"token_ids": [1, 2], "loss_mask": [0]}', "differ in length"),
        ('{"token_ids": [1, 2], "loss_mask": [1, 1]}', "first token"),
        ('{"token_ids": [1, 2], "loss_mask": [0, 0]}', "nothing to learn"),
        ('{"token_ids": [1, "x"], "loss_mask": [0, 1]}', "token_ids"),
        ("{", "truncated"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    file = tmp_path / "demos.jsonl"
    file.write_text('{"token_ids":[1,2],"loss_mask":[0,1]}\n' + line + "\n")
    with pytest.raises(BadRow, match=rf"demos\.jsonl, line 2: .*{says}"):
        read_demonstrations(file)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demos.jsonl").write_text("")
    with pytest.raises(BadRow, match="no demonstrations"):
        read_demonstrations(tmp_path / "demos.jsonl")


def test_an_epoch_has_every_demonstration_once_and_epochs_differ() -> None:
    stream = batches(numbered(12), 4, seed=0)
    first, second = ([i for batch in itertools.islice(stream, 3) for i in ids(batch)] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second


def test_batches_continue_wherever_one_begins() -> None:
    samples = numbered(10)
    straight = [ids(batch) for batch in itertools.islice(batches(samples, 4, seed=1), 9)]
    for start in range(9):
        resumed = [ids(batch) for batch in itertools.islice(batches(samples, 4, seed=1, start=start), 9 - start)]
        assert resumed == straight[start:]


def test_fewer_demonstrations_than_a_batch_are_one_batch() -> None:
    assert sorted(ids(next(batches(numbered(3), 8, seed=0)))) == [0, 1, 2]


@pytest.fixture
async def placed(fake_model):
    placement = LocalPlacement()
    yield await placement.place(Learner, fake_model(), GrpoRecipe(), ObjectiveRecipe())
    await placement.close()


async def test_the_warm_start_takes_its_steps_and_learns(placed, fake_model, make_samples) -> None:
    seen: list[tuple[int, float]] = []
    steps = await warm_start(
        placed,
        make_samples(fake_model()),
        SftRecipe(steps=40, batch=9, warmup=5),
        seed=0,
        on_step=lambda step, metrics: seen.append((step, metrics["sft/loss"])),
    )
    assert steps == 40
    assert [step for step, _ in seen] == list(range(1, 41))
    assert seen[-1][1] < 0.9 * seen[0][1]


class Clock:
    """A learner whose step costs a quarter of a CPU-second."""

    def __init__(self) -> None:
        self.scales: list[float] = []
        self.seen: list[list[int]] = []

    async def call(self, method: str, *args):
        if method == "sft_step":
            self.seen.append(ids(args[0]))
            self.scales.append(args[1])
            return {"sft/cpu_seconds": 0.25}

    async def close(self) -> None:
        return None


async def test_by_cpu_time_it_ends_with_the_time_and_decays_along_it() -> None:
    clock = Clock()
    steps = await warm_start(clock, numbered(8), SftRecipe(warmup=0), seed=0, cpu_seconds=1.0)
    assert steps == 4
    assert clock.scales == pytest.approx([1.0, 0.775, 0.55, 0.325])


async def test_by_steps_the_rate_warms_up_and_decays_to_a_tenth() -> None:
    clock = Clock()
    await warm_start(clock, numbered(8), SftRecipe(steps=10, warmup=2), seed=0)
    assert clock.scales[0] == 0.5
    assert clock.scales[1] == pytest.approx(0.91)
    assert clock.scales[-1] == pytest.approx(0.19)


async def test_lessons_come_first_and_share_the_schedule() -> None:
    clock = Clock()
    samples = numbered(8)
    recipe = SftRecipe(lessons=2, steps=3, batch=2, warmup=0)
    assert await warm_start(clock, samples[:4], recipe, seed=0, lessons=samples[4:]) == 5
    assert [min(batch) >= 4 for batch in clock.seen] == [True, True, False, False, False]
    assert clock.scales == pytest.approx([1.0, 0.82, 0.64, 0.46, 0.28])
