"""Lists of nodes (`lc_niah`, after openai/graphwalks): the public F1 with its penalty for copying, and exact sets.

    published   last line `Final Answer: [a, b]` ─▶ F1 of the sets × (1 − overlap of reasoning and prompt)
    strict      the same line, once, every node once ─▶ 1.0 for exactly the nodes, else 0.0

Source: NVIDIA-NeMo/Gym, `resources_servers/lc_niah` (app.py; overlap rules as its configuration sets them).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Any

_LINE = re.compile(r"Final Answer:\s*\[(.*)\]")
_STRICT = re.compile(r"[*_`\s]*final answer:[*_`\s]*\[([^\[\]]*)\][*_`\s.]*", re.IGNORECASE)
_CLAIM = re.compile(r"final answer:", re.IGNORECASE)
MAX_WORK = 10**9
"""Characters of reasoning times those of the prompt: about two seconds of matching."""

WORDS = 16


def strict(nodes: list[str], text: str) -> tuple[float, str]:
    """Reward and reason for a reply without its thinking."""
    lines = [line for line in text.splitlines() if line.strip()]
    found = _STRICT.fullmatch(lines[-1]) if lines else None
    if found is None:
        return 0.0, "the last line is no `Final Answer: [...]`" if lines else "empty"
    if any(_CLAIM.search(line) for line in lines[:-1]):
        return 0.0, "several answers"
    given = _nodes(found[1])
    if len(set(given)) != len(given):
        return 0.0, "a node twice"
    return (1.0, "exact set") if set(given) == set(nodes) else (0.0, "another set")


def published(
    nodes: list[str], overlap: tuple[str, str], text: str, reasoning: str, prompt: str
) -> tuple[float, str, dict[str, float]]:
    """The public reward, the reason, and its parts. `text` is all output text as it came.

    The overlap is left out where it changes nothing; where it would take more than seconds, the reward is 0.0.
    """
    score = f1(nodes, text)
    metric, rule = overlap
    if not score or rule == "base":
        return score, f"F1 {score:.3g}", {"answer_score": score}
    if metric == "seq_match" and len(reasoning) * len(prompt) > MAX_WORK:
        return 0.0, "the public overlap of so much reasoning takes too long", {"answer_score": score}
    copied = _OVERLAPS[metric](_normal(reasoning), _normal(prompt))
    parts = {"answer_score": score, "reasoning_overlap": copied}
    return score * (1.0 - copied), f"F1 {score:.3g}, overlap {copied:.3g}", parts


def f1(nodes: Iterable[str], text: str) -> float:
    """F1 of the nodes in the last line that has any text."""
    lines = [line for line in text.strip().split("\n") if line.strip()]
    found = _LINE.search(lines[-1]) if lines else None
    if found is None:
        return 0.0
    given, wanted = set(_nodes(found[1])), set(nodes)
    if not given or not wanted:
        return float(given == wanted)
    hits = len(given & wanted)
    if not hits:
        return 0.0
    precision, recall = hits / len(given), hits / len(wanted)
    return 2 * precision * recall / (precision + recall)


def reasoning_of(items: Iterable[dict[str, Any]]) -> str:
    """The summaries of all reasoning items, joined."""
    texts = []
    for item in items:
        if item.get("type") == "reasoning" and isinstance(item.get("summary"), list):
            texts += [part.get("text") for part in item["summary"] if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def prompt_of(given: str | list[dict[str, Any]]) -> str:
    """The text of all messages of an input."""
    if isinstance(given, str):
        return given
    texts = []
    for item in given:
        content = item.get("content")
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            texts += [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return "\n".join(texts)


def _nodes(content: str) -> list[str]:
    return [node for part in content.split(",") if (node := part.strip().strip("\"'").strip())]


def _normal(text: str) -> str:
    return re.sub(r"\s+", " ", text.strip().lower())


def _similar(reasoning: str, prompt: str) -> float:
    return float(SequenceMatcher(None, reasoning, prompt).ratio()) if reasoning else 0.0


def _ngrams(reasoning: str, prompt: str) -> float:
    ours, theirs = (_grams(text.split()) for text in (reasoning, prompt))
    return len(ours & theirs) / len(ours) if ours else 0.0


def _grams(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[at : at + WORDS]) for at in range(len(words) - WORDS + 1)}


_OVERLAPS = {"seq_match": _similar, "ngram16": _ngrams}
