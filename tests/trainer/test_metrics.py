import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.errors import BadRequest
from trainer.metrics import CallbackWriter, Metrics, StoreWriter, TensorBoardWriter, WandbWriter


def test_each_name_has_its_own_reduction() -> None:
    metrics = Metrics()
    for value in (1.0, 4.0, 2.0):
        metrics.mean("mean", value, 2)
        metrics.sum("sum", value)
        metrics.max("max", value)
        metrics.min("min", value)
        metrics.last("last", value)
    assert metrics.reduce() == pytest.approx({"mean": 7 / 6, "sum": 7.0, "max": 4.0, "min": 1.0, "last": 2.0})


def test_a_mean_over_nothing_is_absent() -> None:
    metrics = Metrics()
    metrics.mean("empty", 0.0, 0)
    assert metrics.reduce() == {}


def test_two_reductions_of_one_name_are_refused() -> None:
    metrics = Metrics()
    metrics.sum("x", 1.0)
    with pytest.raises(ValueError, match="reduced by sum, not by max"):
        metrics.max("x", 1.0)


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 9)), min_size=1, max_size=20), st.integers(0, 20))
def test_merging_parts_is_never_a_mean_of_means(values: list[tuple[int, int]], cut: int) -> None:
    def collect(part: list[tuple[int, int]]) -> Metrics:
        metrics = Metrics()
        for total, count in part:
            metrics.mean("m", total, count)
            metrics.sum("s", total)
            metrics.max("x", total)
        return metrics

    merged = collect(values[:cut]).merge(collect(values[cut:])).reduce()
    assert merged == collect(values).reduce()
    assert merged["m"] == sum(t for t, _ in values) / sum(c for _, c in values)


class FakeStore:
    def __init__(self) -> None:
        self.seen: list[tuple[str, int, dict[str, float]]] = []

    async def put_metrics(self, run_id: str, step: int, values: dict[str, float]) -> None:
        self.seen.append((run_id, step, values))


async def test_writers_hand_on_what_they_get(tmp_path: Path) -> None:
    store, shown = FakeStore(), []

    def show(step: int, values: Mapping[str, float]) -> None:
        shown.append((step, dict(values)))

    tensorboard = TensorBoardWriter(tmp_path)
    for writer in (StoreWriter(store, "run"), CallbackWriter(show), tensorboard):  # type: ignore[arg-type]
        await writer.write(3, {"reward": 0.5, "reward/maths": 0.25})
        await writer.close()
    assert store.seen == [("run", 3, {"reward": 0.5, "reward/maths": 0.25})]
    assert shown == [(3, {"reward": 0.5, "reward/maths": 0.25})]
    (events,) = tmp_path.glob("events.out.tfevents.*")
    assert b"train/reward" in events.read_bytes()


async def test_weights_and_biases_gets_the_same_names_under_the_id_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []

    class Run:
        def log(self, values: dict[str, float], step: int) -> None:
            calls.append(("log", {**values, "step": step}))

        def finish(self) -> None:
            calls.append(("finish", {}))

    def init(**given: Any) -> Run:
        calls.append(("init", given))
        return Run()

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    writer = WandbWriter(tmp_path / "wandb", "project", "run-1", {"seed": 3})
    await writer.write(7, {"reward": 0.5, "val/reward": 0.25})
    await writer.close()
    told = calls[0][1]
    assert (told["project"], told["id"], told["resume"], told["config"]) == ("project", "run-1", "allow", {"seed": 3})
    assert Path(told["dir"]).is_dir()
    assert calls[1:] == [("log", {"train/reward": 0.5, "val/reward": 0.25, "step": 7}), ("finish", {})]


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(BadRequest, match="not installed") as caught:
        WandbWriter(tmp_path, "project", "run-1", {})
    assert "palaestra[wandb]" in caught.value.hint


def test_without_a_key_or_a_network_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Error(Exception):
        """Of the package."""

    def init(**_: Any) -> None:
        raise Error("No API key configured")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, Error=Error))
    with pytest.raises(BadRequest, match="begins no run: No API key") as caught:
        WandbWriter(tmp_path, "project", "run-1", {})
    assert "WANDB_MODE=offline" in caught.value.hint
