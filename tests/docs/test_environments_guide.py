"""The author's guide is true: its files are written and loaded, its commands run, its replies are what it shows."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import os
import re
import runpy
import shlex
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from gym_core import serve
from gym_core.check.gate import rule_ids
from gym_core.check.rules.paper import PANELS
from gym_core.loading import load_file
from gym_core.registry import Registry
from palaestra.__main__ import cli
from palaestra.commands.env_target import is_place

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/environments.md").read_text()
FILES = re.findall(r"^```\w+ (\S+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
CONSOLES = re.findall(r"^```console\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
FENCES = GUIDE.count("```") // 2
ELSEWHERE = "pytest tests/environments/test_contract.py -k stockroom"

CONTRACT = load_file(ROOT / "tests/environments/test_contract.py")
PER_ENVIRONMENT = [
    name
    for name, test in vars(CONTRACT).items()
    if name.startswith("test_") and "name" in inspect.signature(test).parameters and "another_process" not in name
]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the guide's files, and the author in it."""
    for name, body in FILES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(body)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Terminal:
    """Understands the commands of the guide: `palaestra`, `curl` with few options, an assignment. Services run here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._asked: list[tuple[Any, int]] = []
        self._variables: dict[str, str] = {}
        self._served: serve.Served | None = None
        self._shown_url = ""
        monkeypatch.setattr(serve, "run", lambda app, port, **_: self._asked.append((app, port)))

    async def run(self, line: str) -> str:
        for name, value in self._variables.items():
            line = line.replace(f"${name}", value)
        words = shlex.split(line)
        if words[:3] == ["palaestra", "env", "serve"] and is_place(words[3]):
            return await self._play(words[1:])
        if words[0] == "palaestra":
            return await self._palaestra(words[1:])
        if words[0] == "curl":
            return await self._curl(words[1:])
        name, _, value = line.partition("=")
        self._variables[name] = value
        return ""

    async def _play(self, words: list[str]) -> str:
        """A service that plays and watches until it is stopped: what it prints before it waits."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "palaestra", *words),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(30):
                said = (await process.stdout.readuntil(b"watching")).decode()
                return said + (await process.stdout.readline()).decode().rstrip("\n")
        finally:
            process.kill()
            await process.communicate()

    async def _palaestra(self, words: list[str]) -> str:
        into = None
        if ">" in words:
            into, words = Path(words[-1]), words[:-2]
        # In a thread, for what runs an event loop of its own.
        runner = CliRunner()
        done = await asyncio.to_thread(runner.invoke, cli, words, catch_exceptions=False, standalone_mode=False)
        if into is not None:
            into.write_text(done.stdout)
            return ""
        if self._asked:
            app, port = self._asked.pop()
            if self._served is not None:
                await self._served.close()
            self._served = await self._stack.enter_async_context(await serve.start(app))
            self._shown_url = f"http://127.0.0.1:{port}"
            return f'{{"ready":true,"url":"{self._shown_url}","pid":1}}'
        return done.stdout.rstrip("\n")

    async def _curl(self, words: list[str]) -> str:
        parser = argparse.ArgumentParser()
        parser.add_argument("url")
        for option in ("-d", "-c", "-b"):
            parser.add_argument(option)
        parser.add_argument("-H", action="append", default=[])
        parser.add_argument("-s", action="store_true")
        given = parser.parse_args(words)
        assert self._served is not None and given.url.startswith(self._shown_url), given.url
        data = Path(given.d[1:]).read_text() if given.d.startswith("@") else given.d
        headers = dict(header.split(": ", 1) for header in given.H)
        headers["Content-Type"] = "application/x-www-form-urlencoded"  # what curl says of -d
        if given.b:
            headers["Cookie"] = Path(given.b).read_text()
        url = given.url.replace(self._shown_url, self._served.url)
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.post(url, data=data, headers=headers) as reply,
        ):
            if given.c:
                Path(given.c).write_text("; ".join(f"{name}={item.value}" for name, item in reply.cookies.items()))
            return await reply.text()


def steps(console: str) -> list[tuple[str, str]]:
    """(command, what it prints) of one block."""
    parts = re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]
    return [(command, shown.rstrip("\n")) for command, _, shown in (part.partition("\n") for part in parts)]


def pattern(shown: str) -> str:
    """… is anything within a line; on a line of its own any lines."""
    lines = [
        "(?:.*\\n)*" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + "\\n"
        for line in shown.split("\n")
    ]
    return "".join(lines)


def test_every_block_of_the_guide_is_executed() -> None:
    assert len(FILES) + len(CONSOLES) + 1 == FENCES
    assert f"```\n{ELSEWHERE}\n```" in GUIDE


async def test_the_commands_print_what_the_guide_shows(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = []
    async with AsyncExitStack() as stack:
        terminal = Terminal(monkeypatch, stack)
        for command, shown in [step for console in CONSOLES for step in steps(console)]:
            printed = await terminal.run(command)
            if not re.fullmatch(pattern(shown), f"{printed}\n"):
                wrong.append((command, shown, printed))
    assert wrong == []


def test_the_oracle_is_played_without_http(desk: Path) -> None:
    played = runpy.run_path(str(desk / "stockroom/try_it.py"))
    assert played["verdict"].reward == 1.0


@pytest.mark.parametrize("name", PER_ENVIRONMENT)
async def test_the_first_environment_keeps_the_common_contract(
    name: str, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CONTRACT, "REGISTRY", Registry.discover([desk / "stockroom"]))
    check: Callable[[str], Any] = getattr(CONTRACT, name)
    result = check("stockroom")
    if inspect.isawaitable(result):
        await result


def test_the_environments_are_found_side_by_side(desk: Path) -> None:
    registry = Registry.discover([desk], home=desk / "nowhere")
    assert registry.names() == ["capitals", "shortest", "stockroom"]  # a bare file is named by its path alone
    for name in registry.names():
        assert registry.load(name).cls.name == name


def test_the_modules_that_the_guide_names_exist() -> None:
    named = re.findall(r"`(?:tests|environments|docs)/[\w/.]+`", GUIDE)
    assert named
    assert [path for path in named if not (ROOT / path.strip("`")).exists()] == []


def test_the_page_of_the_quality_gate_tells_every_rule_and_panel() -> None:
    page = (ROOT / "docs/quality_gate.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == rule_ids()
    assert f"one panel: {', '.join(PANELS)}" in page
