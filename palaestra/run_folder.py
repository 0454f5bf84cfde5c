"""What a training run leaves behind, and where: one folder, from which every figure can be computed again.

runs/<id>/recipe.json          the recipe as it was run
          store.db             rollouts and metrics; tokens in files beside it
          lessons.jsonl        flawless demonstrations, for the first part of the warm start
              demonstrations.jsonl the fallible demonstrator's, for the second
          tokenizer/           learnt from the demonstrations
          before/  after/      checkpoints as transformers reads them, with tokenizer and evaluation.json
          checkpoints/         for resuming; `latest` and `best` are links
          journal.jsonl        one line per finished step
          services.json        where its services listen while it runs
          profiles-….jsonl     pass rates of the pools, where they were profiled again on a plateau
          summary.json  report.html  logs/  tensorboard/  wandb/
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from gym_core.errors import BadRequest
from trainer.config import Recipe, parse_recipe


class RunFolder:
    """Paths of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, runs_dir: Path, recipe: Recipe) -> RunFolder:
        """A new folder under `runs_dir`, named by recipe, arm, seed and time."""
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        name = f"{recipe.name}-{recipe.arm}-s{recipe.seed}-{stamp}"
        path = runs_dir / name
        number = 1
        while path.exists():
            number += 1
            path = runs_dir / f"{name}-{number}"
        path.mkdir(parents=True)
        folder = cls(path)
        folder.write_json("recipe.json", recipe)
        return folder

    @classmethod
    def existing(cls, path: Path) -> RunFolder:
        """The folder of an earlier run. Raises `BadRequest` where it is none."""
        if not (path / "recipe.json").is_file():
            raise BadRequest(f"{path} is not a run: it has no recipe.json", field="resume")
        return cls(path)

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def store(self) -> Path:
        return self.path / "store.db"

    @property
    def lessons(self) -> Path:
        return self.path / "lessons.jsonl"

    @property
    def demonstrations(self) -> Path:
        return self.path / "demonstrations.jsonl"

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer"

    @property
    def before(self) -> Path:
        return self.path / "before"

    @property
    def after(self) -> Path:
        return self.path / "after"

    def write_json(self, name: str, value: Any) -> Path:
        """Write a file whole: no reader ever sees half of it."""
        path = self.path / name
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
        partial.replace(path)
        return path

    def read_json(self, name: str) -> Any:
        return msgspec.json.decode((self.path / name).read_bytes())


def unfinished(runs_dir: Path, recipe: Recipe) -> Path | None:
    """The newest run of this very recipe that has no summary yet."""
    for path in sorted(runs_dir.glob(f"{recipe.name}-{recipe.arm}-s{recipe.seed}-*/recipe.json"), reverse=True):
        if _recipe_in(path) == recipe:
            return None if (path.parent / "summary.json").is_file() else path.parent
    return None


def _recipe_in(path: Path) -> Recipe | None:
    """A run's recipe, keys that are newer than the run as they are by default; None where it is none of today."""
    try:
        return parse_recipe(msgspec.json.decode(path.read_bytes()), str(path))
    except BadRequest:
        return None


def grpo_cpu_seconds(runs_dir: Path, recipe: Recipe) -> float | None:
    """CPU seconds of the reinforcement phase of the newest finished GRPO run with this recipe's name and seed."""
    for path in sorted(runs_dir.glob(f"{recipe.name}-grpo-s{recipe.seed}-*/summary.json"), reverse=True):
        summary = msgspec.json.decode(path.read_bytes())
        if summary.get("phases", {}).get("train"):
            return float(summary["phases"]["train"]["cpu_seconds"])
    return None
