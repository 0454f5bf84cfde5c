"""`palaestra env new`: a folder with a small environment that passes the quality gate as it is."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click

from palaestra.commands.env_templates import CODE, MANIFEST, README, TEST, TITLES


@click.command("new")
@click.argument("name")
@click.option("--kind", type=click.Choice(sorted(CODE)), default="tool", show_default=True, help="what the policy does")
@click.option(
    "--into",
    default=Path("."),
    show_default=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="where the folder is made",
)
def new(name: str, kind: str, into: Path) -> None:
    """Write a folder NAME with code, manifest, cases, README and a test. Nothing is overwritten."""
    folder = into / name
    _refuse(name, folder)
    with tempfile.TemporaryDirectory(dir=into, prefix=".palaestra-new-") as made:
        draft = Path(made) / name
        draft.mkdir()
        for file, text in _files(name, kind).items():
            (draft / file).write_text(text)
        (draft / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in _cases(draft, kind)))
        if folder.exists():
            folder.rmdir()  # empty, as `_refuse` has seen
        draft.rename(folder)
    for file in sorted(path.name for path in folder.iterdir()):
        click.echo(f"wrote {folder / file}")
    place = folder if folder.is_absolute() else f"./{folder}"
    click.echo(f"\nplay it    palaestra env serve {place}\ncheck it   palaestra env check {place} --quick")


def _refuse(name: str, folder: Path) -> None:
    """Raises `BadRequest` for a name that cannot be, `Conflict` for one that is taken."""
    from gym_core.errors import BadRequest, Conflict, UnknownName
    from gym_core.manifest import NAME, NAME_RULE
    from gym_core.registry import Registry
    from gym_core.tools import RESERVED_NAMES

    if not NAME.match(name) or name in RESERVED_NAMES:
        why = "that is a route of the service" if name in RESERVED_NAMES else f"a name is {NAME_RULE}"
        raise BadRequest(f"an environment cannot be called {name!r}: {why}", field="name")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} exists already, nothing was written", field="name", hint="choose another name")
    try:
        taken = Registry.discover().resolve(name)
    except UnknownName:
        return
    raise Conflict(f"{name!r} already leads to the environment {taken!r}", field="name", hint="choose another name")


def _files(name: str, kind: str) -> dict[str, str]:
    names = {
        "NAME": name,
        "CLASS": "".join(part.capitalize() for part in name.replace("-", "_").split("_")),
        "TITLE": TITLES[kind],
    }
    module = f"test_{name.replace('-', '_')}.py"
    texts = {
        "environment.py": CODE[kind],
        "manifest.toml": MANIFEST,
        "README.md": README[kind],
        module: TEST,
    }
    return {file: _filled(text, names) for file, text in texts.items()}


def _filled(text: str, names: dict[str, str]) -> str:
    for word, value in names.items():
        text = text.replace(f"<{word}>", value)
    return text


def _cases(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Answers of all four kinds to one task, the right one from the oracle."""
    from gym_core.contracts import TaskRef
    from gym_core.environment import Script
    from gym_core.generate import make_task
    from gym_core.registry import Registry

    registry = Registry.at(folder)
    environment = registry.load(registry.names()[0]).cls()
    ref = {"seed": 0, "level": 1, "index": 0}
    script = environment.oracle(make_task(environment, TaskRef(seed=0, level=1, index=0)))
    script = Script(reply=script) if isinstance(script, str) else script
    calls = [{"name": call.name, "arguments": call.arguments} for call in script.calls]
    right = {"calls": calls, "output": script.reply}
    attacks = {
        "zero": "1",
        "malformed": "",
        "hacked": f"<think>{script.reply}</think>",
    }
    cases = [{"kind": "full", "task_ref": ref, **right, "reward": 1.0}]
    cases += [{"kind": name, "task_ref": ref, "output": words, "reward": 0.0} for name, words in attacks.items()]
    if kind != "group":
        hedged = f"{script.reply} or {script.reply}1"
        cases.append({"kind": "hacked", "task_ref": ref, "output": hedged, "reward": 0.0})
    return cases
