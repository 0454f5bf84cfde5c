"""The report stands alone, escapes what it is given, and holds the summary's figures."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from gym_core.contracts import Outcome, Rollout, Verdict
from palaestra.report import write_report

SUMMARY: dict[str, Any] = {
    "run_id": "run<1>",
    "recipe": "demo",
    "arm": "grpo",
    "seed": 3,
    "seconds": 12.3,
    "cpu_seconds": 45.6,
    "peak_memory_mb": 2048.0,
    "reward_before": 0.25,
    "reward_after": 0.75,
    "temperature": 1.0,
    "error_rate": 0.5,
    "environments": {
        "math": {
            "before": 0.25, "before_error": 0.01, "after": 0.75, "after_error": 0.02,
            "greedy_before": 0.5, "greedy_after": 0.9, "num_tasks": 256,
        }
    },
    "processes": [{"pid": 1, "name": "python -m <x>", "cpu_seconds": 9.0}],
}  # fmt: skip


class Tags(HTMLParser):
    VOID = {"meta", "line", "polyline", "br"}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_well_formed_and_alone(tmp_path: Path) -> None:
    steps = [(-2, {"sft/loss": 2.0}), (-1, {"sft/loss": 1.0}), (0, {"reward/math": 0.3, "token_mult_prob_error": 1.0})]
    said = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "<b>4</b>"}]}]
    rollout = Rollout(
        rollout_id="r",
        environment="math",
        task_id="t",
        outcome=Outcome.SCORED,
        output=said,
        verdict=Verdict(reward=1.0),
    )
    path = tmp_path / "report.html"
    write_report(path, SUMMARY, steps, {"math, after": [("2 + 2 < 5?", rollout)]}, {"name": "demo"})
    text = path.read_text()
    tags = Tags()
    tags.feed(text)
    assert tags.open == [] and tags.links == []
    assert "run&lt;1&gt;" in text and "&lt;b&gt;4&lt;/b&gt;" in text and "2 + 2 &lt; 5?" in text
    for figure in ("0.25 → 0.75", "+0.50", "0.250 ± 0.010", "0.750 ± 0.020", "2.00 GB", "9.0"):
        assert figure in text


def test_validation_is_drawn_where_a_run_has_it(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(path, SUMMARY, [(0, {"reward/math": 0.3})], {}, {})
    assert "Held-out" not in path.read_text().replace("Held-out tasks, sampled", "")
    steps = [
        (step, {"val/reward/math": 0.2 * step, "val/pass@1/math": 0.2 * step, "val/pass@4/math": 0.3 * step})
        for step in (1, 2)
    ]
    write_report(path, SUMMARY, steps, {}, {})
    text = path.read_text()
    assert "Held-out reward by environment" in text and "Held-out pass@k: math" in text
    assert "pass@1" in text and "pass@4" in text and "pass@2" not in text
