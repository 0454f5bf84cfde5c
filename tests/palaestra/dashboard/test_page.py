"""The page's files as they lie: nothing from elsewhere, nothing parsed as markup, readable in both themes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from palaestra.dashboard.app import PAGE

FILES = sorted(PAGE.iterdir())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]

each = pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])


@each
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    text = path.read_text()
    found = [url for url in re.findall(r"""(?:https?:)?//[\w.-]+[^\s"'`)]*""", text) if "://" in url]
    assert [url for url in found if not url.startswith("http://www.w3.org/")] == []
    assert "@import" not in text and "url(" not in text


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.name for path in SCRIPTS])
def test_no_text_is_ever_parsed_as_markup(path: Path) -> None:
    text = path.read_text()
    for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser"):
        assert sink not in text


def test_the_document_has_no_inline_script_or_style() -> None:
    text = (PAGE / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*src=)", text) and "<style" not in text
    assert not re.search(r"\son\w+=|\sstyle=", text)


def colours(selector: str) -> dict[str, str]:
    css = (PAGE / "base.css").read_text()
    block = css[css.index(selector) :]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block[: block.index("}")]))


THEMES = {"light": colours(":root {"), "dark": colours(':root[data-theme="dark"] {')}
TEXT = ("ink", "faint", "link", "good", "bad", "warn", "given", *(f"s{n}" for n in range(9)))


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, relative luminance; black on white is 21."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_by_hand() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)


@pytest.mark.parametrize("theme", THEMES)
def test_words_can_be_read(theme: str) -> None:
    given = THEMES[theme]
    pairs = [(name, ground) for name in TEXT if not name.startswith("s") for ground in ("paper", "card")]
    pairs += [("ink", f"t{n}") for n in range(5)] + [("ink", ground) for ground in ("soft", "ins", "del")]
    pairs += [("good", "good-soft"), ("bad", "bad-soft"), ("ink", "idle-soft"), ("faint", "soft")]
    weak = {pair: round(contrast(given[pair[0]], given[pair[1]]), 2) for pair in pairs}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}
    # lines and marks that carry meaning: 3 to 1
    marks = [f"s{n}" for n in range(9)] + ["scored", "env_error", "policy_error", "judge_error", "focus"]
    faint = {name: round(contrast(given[name], given["card"]), 2) for name in marks}
    assert {name: ratio for name, ratio in faint.items() if ratio < 3.0} == {}


def test_both_ways_into_the_dark_are_the_same() -> None:
    assert colours(':root:not([data-theme="light"]) {') == THEMES["dark"]
    assert set(THEMES["light"]) == set(THEMES["dark"])
