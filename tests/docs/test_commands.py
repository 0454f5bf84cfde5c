"""Every `palaestra …` that a page tells to type is one that the command line takes: names, options, number of words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from palaestra.__main__ import cli

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("*.md", "docs/**/*.md", "*/*/README.md", "*/README.md", "compose/*.yaml", "compose/demo.sh")
PAGES = sorted({page for place in PLACES for page in ROOT.glob(place)} - set(ROOT.glob(".*/**/*")))
PROGRAM = r"(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?pal(?:aestra)? "
ANYTHING = "…"


def commands(text: str) -> Iterator[str]:
    """In blocks every line that begins with the program, elsewhere what stands between backticks."""
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for block in blocks:
        for line in re.sub(r"\s*\\\n\s*", " ", block).split("\n"):
            found = re.match(rf"(?:\$ )?{PROGRAM}(.*)", line.strip())
            if found:
                yield re.split(r"\s{3,}(?=[^\s-])", found[1])[0]  # then comes what it does
    prose = re.sub(r"^```.*?\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(rf"`{PROGRAM}([^`]+)`", prose)


def misfit(line: str) -> str:
    """What the command line has against it, "" for nothing."""
    typed = re.split(r"\s+#\s|\s[>|;&]|;\s", line)[0].replace("[", " ").replace("]", " ")
    words = shlex.split(typed)
    command: click.Command = cli
    path = [""]
    while isinstance(command, click.Group) and words and words[0] not in (ANYTHING, "--help", "-h", "--version"):
        group, name = command, words[0]
        found = group.get_command(click.Context(group), name)
        if found is None:
            return "" if group.invoke_without_command else f"there is no `{name}`"
        command, words = found, words[1:]
        path.append(name)
    if isinstance(command, click.Group) or "--help" in words:
        return ""
    try:
        _, left, _ = command.make_parser(click.Context(command, info_name=path[-1])).parse_args(
            [word for word in words if word != ANYTHING]
        )
    except click.BadOptionUsage as error:
        return "" if words[-1].startswith("-") and "requires an argument" in error.message else error.message
    except click.UsageError as error:
        return error.message
    return f"nobody takes {left}" if left else ""


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_the_commands_of_a_page_are_taken(page: Path) -> None:
    told = {line: misfit(line) for line in commands(page.read_text())}
    assert {line: why for line, why in told.items() if why} == {}


def test_commands_are_found_and_wrong_ones_refused() -> None:
    assert sum(len(list(commands(page.read_text()))) for page in PAGES) > 150
    assert list(commands("```\n$ X=1 palaestra runs list \\\n    --json   all of them\n```\n`pal env list`")) == [
        "runs list --json",
        "env list",
    ]
    wrong = ["trian", "train --recipee demo", "env lits", "env check a b --quick --slow", "eval a b"]
    assert all(misfit(line) for line in wrong)
    right = ["train --recipe demo", "runs", "env serve a b --port 1", "agent serve … --dashboard", "train --resume"]
    assert [line for line in right if misfit(line)] == []
