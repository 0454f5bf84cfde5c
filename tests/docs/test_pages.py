"""Pages do not point at what is not there: links between pages, and modules they tell you to read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("environments/*/README.md"),
        *ROOT.glob("examples/**/README.md"),
        *ROOT.glob("compat/*/README.md"),
    ]
)
ROOMS = "gym_core|agent_server|policy_server|trainer|model|palaestra|environments|tests|scripts"

each = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


@each
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    local = [target for target in targets if target and "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


@each
def test_modules_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(rf"`((?:{ROOMS})/[\w/]+\.(?:py|toml|jsonl))`", page.read_text())
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_the_pages_are_found() -> None:
    assert {"README.md", "contracts.md", "environments.md", "architecture.md"} <= {page.name for page in PAGES}
