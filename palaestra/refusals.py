"""What a recipe may ask for and `palaestra train` cannot do, said before anything is started."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from gym_core.errors import BadRequest
from palaestra.services import Services
from trainer.config import Recipe
from trainer.curriculum import quotas


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
    _refuse_model(recipe)
    _refuse_layout(recipe)
    _refuse_pools(recipe)
    if recipe.wandb and find_spec("wandb") is None:
        raise BadRequest(
            "metrics are to go to Weights & Biases, which is not installed",
            field="wandb",
            hint="pip install 'palaestra[wandb]', or --set wandb=",
        )
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


def _refuse_model(recipe: Recipe) -> None:
    """A shape or a vocabulary that nothing can be made of."""
    from model.tokenizer import SMALLEST_VOCAB
    from trainer.build import model_config

    if recipe.checkpoint:
        return
    model_config(recipe)
    if recipe.vocab_size < SMALLEST_VOCAB:
        raise BadRequest(
            f"`vocab_size` is {recipe.vocab_size}, and bytes and markers alone are {SMALLEST_VOCAB}",
            field="vocab_size",
            hint=f"--set vocab_size={SMALLEST_VOCAB}, or more",
        )


def _refuse_pools(recipe: Recipe) -> None:
    """Fewer tasks than a step draws of them, or profiles that cannot be read."""
    weights = {name: mix.weight for name, mix in recipe.environments.items()}
    for name, quota in quotas(weights, recipe.grpo.prompts_per_step).items():
        if quota > (tasks := recipe.environments[name].tasks):
            raise BadRequest(
                f"a step draws {quota} tasks of {name}, which has {tasks}",
                field=f"environments.{name}.tasks",
                hint="raise `tasks` or lower `grpo.prompts_per_step`",
            )
    if recipe.grpo.profiles:
        from palaestra.profiling import saved_profiles

        saved_profiles(Path(recipe.grpo.profiles))


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
