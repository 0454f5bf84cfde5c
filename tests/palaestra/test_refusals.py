"""What `train` cannot run is said before anything starts, naming the field and the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gym_core.errors import BadRequest
from palaestra import refusals, summary, training
from palaestra.__main__ import cli
from palaestra.refusals import refuse_what_cannot_run
from palaestra.run_folder import RunFolder
from palaestra.services import Services
from trainer.config import load_recipe


@pytest.mark.parametrize(
    ("overrides", "field", "match"),
    [
        ({"layout.dp": 0}, "layout.dp", "no GPUs"),
        ({"layout.dp": 2, "arm": "sft"}, "layout", "one process"),
        ({"layout.dp": 2, "layout.ep": 3}, "layout", "ep 3 must divide"),
        ({"layout.ep": 2}, "layout", "ep 2 must divide dp x cp = 1"),
        ({"layout.tp": 3}, "layout", "tp 3 does not divide mamba_num_heads"),
        ({"policy.engine": "vllm"}, "policy", "embedded engine"),
        ({"policy.tp": 2}, "policy", "embedded engine"),
        ({"policy.replicas": 2, "policy.transport": "in_process"}, "policy.transport", "processes of their own"),
        ({"layout.dp": 2, "policy.transport": "in_process"}, "policy.transport", "not in the policy's"),
        ({"vocab_size": 3}, "vocab_size", "bytes and markers alone are"),
        ({"model.hiden_size": 64}, "model.hiden_size", "unknown key"),
        ({"model.n_routed_experts": 0}, "model", "n_routed_experts"),
        ({"grpo.prompts_per_step": 100_000}, "environments.math.tasks", "a step draws 25000 tasks of math"),
        ({"grpo.profiles": "nowhere.jsonl"}, "grpo.profiles", "no file nowhere"),
        ({"base": "nano"}, "checkpoint", "needs its checkpoint"),
        ({"checkpoint": "nowhere"}, "checkpoint", "config.json is missing"),
    ],
)
def test_what_cannot_run_is_refused(overrides: dict[str, Any], field: str, match: str) -> None:
    with pytest.raises(BadRequest, match=match) as caught:
        refuse_what_cannot_run(load_recipe("demo", overrides))
    assert caught.value.field == field


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"layout.dp": 2, "layout.ep": 2},
        {"layout.dp": 1, "layout.cp": 2},
        {"layout.dp": 2, "policy.transport": "shared_memory"},
        {"layout.dp": 2, "policy.transport": "http"},
    ],
)
def test_layouts_that_fit_are_run(overrides: dict[str, Any]) -> None:
    refuse_what_cannot_run(load_recipe("demo", overrides))


def test_replicas_are_not_started_beside_a_policy_that_is_served_already() -> None:
    recipe = load_recipe("demo", {"policy.replicas": 2})
    refuse_what_cannot_run(recipe, Services())
    with pytest.raises(BadRequest, match="served already at http://here:1") as caught:
        refuse_what_cannot_run(recipe, Services(policy="http://here:1", shared="/tmp"))
    assert caught.value.field == "policy.replicas"


def test_only_layout_and_replicas_of_a_run_may_change(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, load_recipe("demo"))
    resume = ["train", "--resume", str(folder.path)]
    refused = CliRunner().invoke(cli, [*resume, "--set", "grpo.lr=1"])
    assert isinstance(refused.exception, BadRequest) and refused.exception.field == "grpo.lr"
    refused = CliRunner().invoke(cli, [*resume, "--set", "layout.dp=0"])
    assert isinstance(refused.exception, BadRequest) and refused.exception.field == "layout.dp"
    refused = CliRunner().invoke(cli, [*resume, "--set", "policy.replicas=0"])
    assert isinstance(refused.exception, BadRequest) and "replicas" in str(refused.exception)
    refused = CliRunner().invoke(cli, [*resume, "--set", "policy.deterministic=true"])
    assert isinstance(refused.exception, BadRequest) and refused.exception.field == "policy.deterministic"
    refused = CliRunner().invoke(cli, [*resume, "--set", "layout.pd=2"])
    assert isinstance(refused.exception, BadRequest) and "dp" in refused.exception.hint


def test_environment_actors_and_environments_that_are_served_already_exclude_each_other() -> None:
    recipe = load_recipe("demo", {"environment_actors": 2})
    refuse_what_cannot_run(recipe, Services())
    with pytest.raises(BadRequest, match="served already at http://here:1") as caught:
        refuse_what_cannot_run(recipe, Services(environments="http://here:1"))
    assert caught.value.field == "environment_actors"


def test_profiles_that_cannot_be_read_are_refused_before_the_warm_start(tmp_path: Path) -> None:
    path = tmp_path / "profiles.jsonl"
    path.write_text('{"environment":"math","task_id":"a","checkpoint":"c","passes":3,"count":2}\n')
    with pytest.raises(BadRequest, match=r"line 1: 3\.0 passes of 2 tries"):
        refuse_what_cannot_run(load_recipe("demo", {"grpo.profiles": str(path)}))


def test_weights_and_biases_is_asked_for_only_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_what_cannot_run(load_recipe("demo"))
    monkeypatch.setattr(refusals, "find_spec", lambda name: None)
    refuse_what_cannot_run(load_recipe("demo"))
    with pytest.raises(BadRequest, match="not installed") as caught:
        refuse_what_cannot_run(load_recipe("demo", {"wandb": "project"}))
    assert caught.value.field == "wandb" and "palaestra[wandb]" in caught.value.hint


@pytest.mark.parametrize("given", ["{}", "{}/../{}", "."])
def test_a_resumed_run_is_found_and_told_by_its_own_folder(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever `--runs-dir` says, and from inside of it too."""
    folder = RunFolder.create(tmp_path / "elsewhere", load_recipe("demo"))
    asked: dict[str, Any] = {}

    async def train(recipe: Any, **options: Any) -> dict[str, Any]:
        asked.update(options)
        return {"run_id": options["resume"].name}

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(summary, "show", lambda told, path: asked.update(shown=path))
    monkeypatch.chdir(folder.path if given == "." else folder.path.parent)
    CliRunner().invoke(cli, ["train", "--resume", given.format(*[folder.run_id] * 2)], catch_exceptions=False)
    assert asked["resume"].name == folder.run_id
    assert asked["shown"].resolve() == folder.path.resolve() and asked["runs_dir"].resolve() == folder.path.parent
