"""What a recipe may ask for and `palaestra train` cannot do, said before anything is started."""

from __future__ import annotations

from pathlib import Path

from gym_core.errors import BadRequest
from palaestra.services import Services
from trainer.config import Recipe


def refuse_what_cannot_run(recipe: Recipe, services: Services | None = None) -> None:
    """Raises BadRequest before anything is started; `services` are those that are named."""
    if recipe.base == "nano" and not recipe.checkpoint:
        raise BadRequest(
            f"`{recipe.name}` trains the published model and needs its checkpoint",
            field="checkpoint",
            hint="--set checkpoint=DIR; `palaestra plan` needs none",
        )
    if recipe.checkpoint and not (Path(recipe.checkpoint) / "config.json").is_file():
        raise BadRequest(f"no checkpoint at {recipe.checkpoint}: config.json is missing", field="checkpoint")
    _refuse_layout(recipe)
    if recipe.environment_actors and services is not None and services.environments:
        raise BadRequest(
            "`environment_actors` serve the environments that a run starts itself, and these are served already at "
            f"{services.environments}",
            field="environment_actors",
            hint="--set environment_actors=0, or leave `--environments` and `--agent` out",
        )
    _refuse_replicas(recipe, services)
    if recipe.policy.engine != "embedded" or recipe.policy.tp > 1:
        raise BadRequest("`train` starts the embedded engine, on one device", field="policy", hint="policy.engine")


def _refuse_replicas(recipe: Recipe, services: Services | None) -> None:
    if recipe.policy.replicas == 1:
        return
    if services is not None and services.policy:
        raise BadRequest(
            f"`policy.replicas` are started by the run, and its policy is served already at {services.policy}",
            field="policy.replicas",
            hint="--set policy.replicas=1",
        )
    if recipe.policy.transport == "in_process":
        raise BadRequest(
            "replicas are processes of their own: they do not see the learner's memory unless it is shared",
            field="policy.transport",
            hint="policy.transport=auto",
        )


def _refuse_layout(recipe: Recipe) -> None:
    processes = recipe.layout.processes
    if processes == 0:
        raise BadRequest(
            "`train` runs layouts on CPU processes: it has no GPUs to count replicas by",
            field="layout.dp",
            hint="--set layout.dp=1, or more",
        )
    if processes > 1 and recipe.policy.transport == "in_process":
        raise BadRequest(
            f"a learner over {processes} processes is not in the policy's: it publishes by memory that both share",
            field="policy.transport",
            hint="policy.transport=auto",
        )
    if processes > 1 and recipe.arm == "sft":
        raise BadRequest("the `sft` arm is more warm start, which runs in one process", field="layout")
    if processes > 1 or recipe.layout.ep > 1:
        from model.checkpoint import read_config
        from trainer.build import model_config
        from trainer.plan import spread

        config = read_config(Path(recipe.checkpoint)) if recipe.checkpoint else model_config(recipe)
        spread(recipe, config, processes)
