"""What stands on paper: the manifest, the docstring, the README, the licence."""

from __future__ import annotations

import re

from gym_core.check.rule import Failed, Skipped, rule
from gym_core.check.subject import Subject
from gym_core.manifest import NETWORKS

PANELS = ("idle", "thinking", "junk", "constant", "echo", "random", "shuffled", "near_miss")
README_CHARACTERS = 200
_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*(?: (?:AND|OR|WITH) [A-Za-z0-9][A-Za-z0-9.+-]*)*")


@rule(
    "manifest",
    "the manifest says what the environment is, and its values are ones that we know",
    fix='fill in `description`, `licence` (SPDX), `network` ("none" or "outbound") in manifest.toml',
)
async def manifest(subject: Subject) -> str:
    given = subject.manifest
    wrong = []
    if not given.description:
        wrong.append("`description` is empty" if not subject.bare else "the class has no docstring")
    if given.network not in NETWORKS:
        wrong.append(f"`network` is {given.network!r}, not one of {', '.join(NETWORKS)}")
    if given.licence and not _SPDX.fullmatch(given.licence):
        wrong.append(f"`licence` {given.licence!r} is no SPDX expression")
    if not given.licence and not subject.bare:
        wrong.append("`licence` is missing")
    wrong += [f"`floors` knows no panel {name!r}: {', '.join(PANELS)}" for name in given.floors if name not in PANELS]
    if not subject.low < subject.high:
        wrong.append(f"`reward_range` {subject.low}..{subject.high} is empty")
    floors = {"floor": given.floor, **{f"floors.{name}": value for name, value in given.floors.items()}}
    for name, floor in floors.items():
        if floor is not None and not subject.low <= floor <= subject.high:
            wrong.append(f"`{name}` {floor:g} lies outside reward_range {subject.low:g}..{subject.high:g}")
    if wrong:
        raise Failed("; ".join(wrong))
    return f"{given.name} {subject.seen.version}, {given.licence or 'a bare file'}, network {given.network}"


@rule(
    "docs",
    "class and tools have docstrings, and a README tells the reward rule and the known limits",
    fix="write what a policy is paid for into the docstring, and README.md with a task, the reward rule, known limits",
)
async def docs(subject: Subject) -> str:
    wrong = [] if subject.seen.doc.strip() else ["the class has no docstring"]
    silent = [tool["name"] for tool in subject.seen.tools if not tool["description"]]
    if silent:
        wrong.append(f"without a docstring: {', '.join(silent)}")
    if not subject.bare:
        readme = subject.folder / "README.md"
        text = readme.read_text(errors="replace") if readme.is_file() else ""
        if not text:
            wrong.append("there is no README.md")
        elif len(text) < README_CHARACTERS:
            wrong.append(f"README.md has {len(text)} characters, fewer than {README_CHARACTERS}")
        else:
            wrong += [f"README.md says nothing of {word}" for word in ("reward", "limit") if word not in text.lower()]
    if wrong:
        raise Failed("; ".join(wrong))
    return "docstrings" if subject.bare else "docstrings and README.md"


@rule(
    "verifiable",
    "there is a verdict to give, and an oracle that proves the maximum can be reached",
    fix="write `verify` (or `verify_group`) and `oracle`",
)
async def verifiable(subject: Subject) -> str:
    has = set(subject.seen.has)
    if not has & {"verify", "verify_group"}:
        raise Failed("there is neither `verify` nor `verify_group`")
    if "oracle" not in has:
        raise Failed("there is no `oracle`", "write `oracle(task)`: what earns the maximum")
    if not has & {"make", "ingest"} and not subject.seen.tasks:
        raise Skipped("there is no `make` and no row")
    return ", ".join(sorted(has & {"verify", "verify_group", "verify_published", "oracle"}))
