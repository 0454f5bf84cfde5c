"""A small environment with a tool that keeps every rule, written to disk whole or with one thing broken."""

from __future__ import annotations

import json
from pathlib import Path

CODE = '''
"""Vault: a tool tells the code of a box, the reply is the code."""

import itertools
import random
import socket
import threading
import time

from gym_core.environment import Call, Environment, Script, ToolFault, Verdict, tool

LETTERS = "ABCDEFGHKLMNPQRSTUVWXYZ"
COUNT = itertools.count()


class Vault(Environment):
    """Say the code of the box; 1.0 for exactly the code, 0.0 otherwise."""

    name = "vault"

    def make(self, rng, level):
        box = f"{rng.choice(LETTERS)}{rng.randint(1000, 9999)}"
        code = str(rng.randint(10**6, 10**7 - 1))
        return {"prompt": f"Which code opens box {box} of floor {level}?", "box": box, "code": code}

    def setup(self, task):
        return {"asked": 0}

    def close(self, session):
        session.state["asked"] = -1

    @tool
    def open_box(self, session, box: str) -> str:
        """The code of a box.

        Args:
            box: a letter and four digits
        """
        session.state["asked"] += 1
        if box != session.task["box"]:
            raise ToolFault(f"there is no box {box[:10]}")
        return session.task["code"]

    def verify(self, task, session, reply):
        return float(reply.text.strip() == task["code"])

    def oracle(self, task):
        return Script((Call("open_box", {"box": task["box"]}),), task["code"])
'''
MANIFEST = """
name = "vault"
module = "environment.py"
class = "Vault"
description = "Say the code of a box."
licence = "Apache-2.0"
network = "none"
"""
README = """# Vault
A tool tells the code of a box.

## A task
    Which code opens box K4711 of floor 0?

## Reward
1.0 for exactly the code as the whole reply, else 0.0. Nothing else is paid, whatever else the reply may say.

## Known limits
One box a task; the tool may be asked as often as wanted.
"""


def case(kind: str, output: str, reward: float) -> str:
    """One line of cases.jsonl, about a row from outside."""
    row = {"responses_create_params": {"input": "Box?"}, "box": "A1000", "code": "1234"}
    return json.dumps({"kind": kind, "row": row, "output": output, "reward": reward}) + "\n"


CASES = (
    case("full", "1234", 1.0) + case("zero", "4321", 0.0) + case("malformed", "", 0.0) + case("hacked", "0 1234", 0.0)
)


def write(
    root: Path,
    *edits: tuple[str, str],
    code: str = CODE,
    manifest: str = MANIFEST,
    readme: str = README,
    cases: str = CASES,
    name: str = "vault",
) -> Path:
    """The folder of the environment, these texts replaced in its code; each must stand there once."""
    for old, new in edits:
        assert code.count(old) == 1, (old, code.count(old))
        code = code.replace(old, new)
    folder = root / name
    folder.mkdir()
    for file, text in (
        ("environment.py", code),
        ("manifest.toml", manifest),
        ("README.md", readme),
        ("cases.jsonl", cases),
    ):
        if text:
            (folder / file).write_text(text)
    return folder
