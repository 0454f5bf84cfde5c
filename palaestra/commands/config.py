"""`palaestra config`: every setting with its value and where that comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("config")
@click.argument("section", type=click.Choice(["agent", "environments", "judge", "policy", "recipe"]), required=False)
@click.option("--config", "config_file", type=click.Path(exists=True, path_type=Path), help="a TOML file to read")
@click.option("--recipe", "recipe_name", default="demo", show_default=True, help="the recipe that `recipe` shows")
def command(section: str | None, config_file: Path | None, recipe_name: str) -> None:
    """Show settings: defaults < file < environment (PALAESTRA_SECTION_KEY) < flags. Secrets are masked."""
    from agent_server.config import AgentConfig
    from gym_core.config import load, show
    from gym_core.judge.config import JudgeConfig
    from gym_core.server import EnvironmentServiceConfig
    from palaestra.options import print_json
    from trainer.config import load_recipe

    if section == "recipe":
        print_json(load_recipe(recipe_name))
        return
    kinds: dict[str, Any] = {"agent": AgentConfig, "environments": EnvironmentServiceConfig, "judge": JudgeConfig}
    if section in (None, "policy"):
        from policy_server.config import PolicyConfig

        kinds["policy"] = PolicyConfig
    for name, kind in kinds.items():
        if section in (None, name):
            click.echo(f"[{name}]")
            click.echo(show(load(kind, file=config_file, section=name)))
