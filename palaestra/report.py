"""A run's report: one HTML file that stands alone, every figure beside the artefact it was computed from."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gym_core.contracts import Rollout
from gym_core.reply import message_text
from palaestra.curves import line_chart, rolling

_STYLE = Path(__file__).with_name("report.css")

Points = list[tuple[float, float]]
_MOST_TRIES = 11  # pass@1 to pass@1024

_CHARTS = (
    ("Generated tokens per rollout", "completions/mean_length", "{:.1f}"),
    ("Entropy of the policy (nats)", "entropy", "{:.2f}"),
    ("Groups whose rewards are all equal (share)", "frac_reward_zero_std", "{:.2f}"),
    ("Share of tokens that are older than the weights they train", "stale_token_share", "{:.2f}"),
    ("Gradient norm", "grad_norm", "{:.2f}"),
    ("Largest violation of the experts' balance", "moe/max_vio", "{:.2f}"),
    ("Seconds per step", "total_step_time", "{:.2f}"),
)


def write_report(
    path: Path,
    summary: Mapping[str, Any],
    steps: Sequence[tuple[int, Mapping[str, float]]],
    samples: Mapping[str, Sequence[tuple[str, Rollout]]],
    recipe: Mapping[str, Any],
) -> None:
    """Write the report. `steps` are the stored metrics; `samples` maps a heading to (prompt, rollout) pairs."""
    body = [
        _head(summary),
        _headline(summary),
        _environments(summary),
        _curves(summary, steps),
        _samples(samples),
        _cost(summary),
        f"<h2>Recipe</h2><pre><code>{html.escape(_json(recipe))}</code></pre>",
    ]
    title = f"Run {html.escape(summary['run_id'])}"
    page = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    page += f'<meta name="viewport" content="width=device-width"><style>{_STYLE.read_text()}</style></head><body>'
    path.write_text(page + "".join(body) + "</body></html>", encoding="utf-8")


def _head(summary: Mapping[str, Any]) -> str:
    arm = {
        "grpo": "GRPO after a warm start",
        "sft": "control: the same CPU time on more warm start",
        "shuffled": "control: GRPO on shuffled rewards",
    }[summary["arm"]]
    return (
        f"<h1>{html.escape(summary['recipe'])}, seed {summary['seed']}: {arm}</h1>"
        f'<p class="faint">Run <code>{html.escape(summary["run_id"])}</code>. Held-out tasks, sampled at temperature'
        f" {summary['temperature']:g}; the demonstrator of the warm start errs in {summary['error_rate']:.0%} of its"
        " demonstrations.</p>"
    )


def _headline(summary: Mapping[str, Any]) -> str:
    figures = (
        (f"{summary['reward_before']:.2f} → {summary['reward_after']:.2f}", "held-out reward, before → after"),
        (f"{summary['reward_after'] - summary['reward_before']:+.2f}", "difference"),
        (f"{summary['seconds']:.0f} s", "wall time"),
        (f"{summary['cpu_seconds']:.0f} s", "CPU time, all processes"),
        (f"{summary['peak_memory_mb'] / 1024:.2f} GB", "peak memory, all processes"),
    )
    return '<div class="big">' + "".join(f"<div><strong>{a}</strong>{b}</div>" for a, b in figures) + "</div>"


def _environments(summary: Mapping[str, Any]) -> str:
    rows = []
    for name, score in summary["environments"].items():
        rows.append(
            f"<tr><td>{html.escape(name)}</td>"
            f'<td class="n">{score["before"]:.3f} ± {score["before_error"]:.3f}</td>'
            f'<td class="n">{score["after"]:.3f} ± {score["after_error"]:.3f}</td>'
            f'<td class="n">{score["after"] - score["before"]:+.3f}</td>'
            f'<td class="n">{score["greedy_before"]:.3f}</td><td class="n">{score["greedy_after"]:.3f}</td>'
            f'<td class="n">{score["num_tasks"]}</td></tr>'
        )
    return (
        '<h2>By environment</h2><table><thead><tr><th>environment</th><th class="n">before</th><th class="n">after</th>'
        '<th class="n">difference</th><th class="n">greedy before</th><th class="n">greedy after</th>'
        f'<th class="n">tasks</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
        '<p class="faint">± is one standard error. Greedy: the same policies decoded at temperature 0.</p>'
    )


def _curves(summary: Mapping[str, Any], steps: Sequence[tuple[int, Mapping[str, float]]]) -> str:
    def line(key: str) -> Points:
        warm = key.startswith("sft/")  # the warm start's steps count up to 0
        return [(float(step), values[key]) for step, values in steps if key in values and (step < 0) == warm]

    rewards = {name: rolling(line(f"reward/{name}")) for name in summary["environments"]}
    rewards = {name: points for name, points in rewards.items() if points}
    figures = []
    if rewards:
        figures.append(_figure("Training reward by environment (mean of 5 steps)", rewards, y_range=(0.0, 1.0)))
    figures += _validation(summary["environments"], line)
    if mismatch := line("token_mult_prob_error"):
        title = "Sampling against training: token_mult_prob_error − 1"
        figures.append(_figure(title, {"error": [(x, y - 1.0) for x, y in mismatch]}, y_format="{:.1e}"))
    for title, key, y_format in _CHARTS:
        if points := line(key):
            figures.append(_figure(title, {key: rolling(points)}, y_format=y_format))
    if loss := line("sft/loss"):
        figures.append(_figure("Warm start: loss per token", {"loss": rolling(loss)}))
    return f'<h2>Curves</h2><div class="charts">{"".join(figures)}</div>' if figures else ""


def _validation(environments: Iterable[str], line: Callable[[str], Points]) -> list[str]:
    """Held-out reward during training, and pass@k of each environment where tasks were tried more than once."""
    figures = []
    rewards = {name: line(f"val/reward/{name}") for name in environments}
    rewards = {name: points for name, points in rewards.items() if points}
    if rewards:
        figures.append(_figure("Held-out reward by environment", rewards, y_range=(0.0, 1.0)))
    for name in environments:
        tries = {f"pass@{k}": line(f"val/pass@{k}/{name}") for k in (1 << power for power in range(_MOST_TRIES))}
        tries = {label: points for label, points in tries.items() if points}
        if tries:
            figures.append(_figure(f"Held-out pass@k: {name}", tries, y_range=(0.0, 1.0)))
    return figures


def _figure(title: str, series: Mapping[str, Sequence[tuple[float, float]]], **options: Any) -> str:
    return f"<figure><figcaption>{html.escape(title)}</figcaption>{line_chart(title, series, **options)}</figure>"


def _samples(samples: Mapping[str, Sequence[tuple[str, Rollout]]]) -> str:
    parts = ["<h2>Rollouts</h2>"]
    for heading, pairs in samples.items():
        shown = "".join(_sample(prompt, rollout) for prompt, rollout in pairs)
        parts.append(f"<details><summary>{html.escape(heading)}</summary>{shown}</details>")
    return "".join(parts)


def _sample(prompt: str, rollout: Rollout) -> str:
    lines = [f"user: {prompt}"]
    for item in rollout.output:
        if item.get("type") == "function_call":
            lines.append(f"call: {item['name']}({item['arguments']})")
        elif item.get("type") == "function_call_output":
            lines.append(f"tool: {item['output']}")
        elif item.get("type") == "message":
            lines.append(f"{'user' if item.get('role') == 'user' else 'policy'}: {message_text(item)}")
    reward = "none" if rollout.reward is None else f"{rollout.reward:g}"
    return f"<pre>{html.escape(chr(10).join(lines))}\n<strong>{rollout.outcome}, reward {reward}</strong></pre>"


def _cost(summary: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><td><code>{html.escape(row["name"])}</code></td><td class="n">{row["cpu_seconds"]:.1f}</td></tr>'
        for row in summary["processes"]
    )
    return (
        "<h2>Where the CPU time went</h2><table><thead><tr><th>process</th>"
        f'<th class="n">CPU seconds</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
