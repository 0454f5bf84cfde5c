"""`palaestra run`: play tasks against a policy and keep the scored rollouts."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from palaestra.options import json_option, paths_option, print_json

if TYPE_CHECKING:
    from gym_core.contracts import Rollout, Sampling
    from policy_server.config import PolicyConfig


@click.command("run")
@click.option("--env", "environment", required=True, help="the environment to play")
@click.option("--input", "input_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="rows, JSONL")
@click.option("--tasks", type=int, default=0, help="generate so many tasks instead of reading --input")
@click.option("--level", default=0, show_default=True, help="difficulty of generated tasks")
@click.option("--split", default="heldout", show_default=True, type=click.Choice(["train", "heldout"]))
@click.option(
    "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="where rollouts go, JSONL"
)
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(1), help="rollouts per task")
@click.option("--model", type=click.Path(exists=True, path_type=Path), help="a checkpoint or run: the embedded engine")
@click.option("--policy", "upstream", default="", metavar="URL", help="any OpenAI-compatible endpoint")
@click.option("--policy-model", default="", help="the endpoint's name of the model")
@click.option("--temperature", type=float, default=1.0, show_default=True)
@click.option("--max-tokens", type=int, default=1024, show_default=True, help="tokens a turn may have")
@click.option("--concurrency", default=64, show_default=True, type=click.IntRange(1))
@click.option("--deadline", default=300.0, show_default=True, help="seconds a rollout may take")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--store", default="", metavar="PATH|URL", help="keep rollouts with their tokens, and go on from what is there"
)
@click.option("--resume/--fresh", default=True, show_default=True, help="go on with --output, or begin it anew")
@paths_option
@json_option
def command(**options: Any) -> None:
    """Collect rollouts: rows or generated tasks, a policy, scores with pass@k. Exit code 3 when some had no score."""
    if (options["input_file"] is None) == (not options["tasks"]):
        raise click.UsageError("give either --input rows.jsonl or --tasks N")
    if options["store"] and not options["resume"]:
        raise click.UsageError("what is in a store stays there: give --fresh another --store, or none")
    # What fails is on each rollout and in the summary; the services' own lines would bury it.
    os.environ.setdefault("PALAESTRA_LOG_LEVEL", "ERROR")
    summary = asyncio.run(_run(**options))
    failed = sum(count for name, count in summary["outcomes"].items() if name not in ("scored", "truncated"))
    if options["as_json"]:
        print_json(summary)
    else:
        _show(summary, options["output"], failed)
    if failed:
        raise SystemExit(3)


async def _run(
    *,
    environment: str,
    input_file: Path | None,
    tasks: int,
    level: int,
    split: str,
    output: Path,
    repeats: int,
    model: Path | None,
    upstream: str,
    policy_model: str,
    temperature: float,
    max_tokens: int,
    concurrency: int,
    deadline: float,
    seed: int,
    store: str,
    resume: bool,
    paths: tuple[Path, ...],
    as_json: bool,
) -> dict[str, Any]:
    from gym_core.contracts import Sampling
    from gym_core.registry import Registry
    from palaestra.collection import Collection, Tally, check_output, collect, read_done, read_rows, requests_for
    from palaestra.policies import policy_config
    from palaestra.progress import bar
    from palaestra.recollect import base_of

    environment = Registry.discover(paths).resolve(environment)
    lines = read_rows(input_file) if input_file else {}
    rows = list(lines.values())
    check_output(output)
    earlier = read_done(output) if resume else {}
    config = policy_config(model, upstream, policy_model, num_slots=concurrency)
    sampling = Sampling(temperature=temperature, max_output_tokens=max_tokens)
    with tempfile.TemporaryDirectory(prefix="palaestra-run-") as folder:
        async with Collection(environment, config, Path(folder), paths, store) as collection:
            if input_file:
                await collection.check(lines, input_file.name)
            else:
                rows = await collection.tasks(seed, level, tasks, split)
            run_id = f"run-{_policy_id(config, sampling, seed)}"
            requests = requests_for(
                rows,
                environment=environment,
                run_id=run_id,
                repeats=repeats,
                seed=seed,
                sampling=sampling,
                deadline_s=deadline,
            )
            if not resume:
                output.unlink(missing_ok=True)
            full = (await collection.manifest())["reward_range"][1]
            tally = Tally()
            errors: list[str] = []  # the first one
            done = {name: row for name, row in earlier.items() if base_of(name) in requests}
            for row in done.values():
                tally.add(row["group_id"], row["outcome"], row["reward"])
            kept = _Kept(store, run_id, environment, seed)
            recalled, left = await kept.begin(requests)
            with bar("rollouts", len(requests), quiet=as_json, done=len(done)) as advance:

                def on_rollout(rollout: Rollout) -> None:
                    tally.add(rollout.group_id, rollout.outcome, rollout.reward)
                    if rollout.error is not None and not errors:
                        errors.append(str(rollout.error))
                    advance()

                await collect(
                    collection,
                    left,
                    output,
                    batch=concurrency,
                    timeout_s=deadline * 2,
                    on_rollout=on_rollout,
                    recalled=recalled,
                )
            await kept.end(tally.summary(repeats, full))
    told = {"environment": environment, "repeats": repeats, "output": str(output)}
    return {**told, **tally.summary(repeats, full), "errors": errors}


class _Kept:
    """The collection's run in its store; nothing where it has none of its own."""

    def __init__(self, store: str, run_id: str, environment: str, seed: int) -> None:
        self._store, self._run_id, self._environment, self._seed = store, run_id, environment, seed

    async def begin(
        self, requests: dict[str, dict[str, Any]]
    ) -> tuple[dict[str, tuple[dict[str, Any], Rollout]], dict[str, dict[str, Any]]]:
        """What is finished there, with its request, and what is left to be played."""
        if not self._store:
            return {}, requests
        from gym_core.store import Run, Store
        from palaestra.recollect import begin, recall

        recipe = {"environment": self._environment}
        async with await Store.open(self._store) as store:
            await begin(store, Run(run_id=self._run_id, kind="collect", recipe=recipe, seed=self._seed))
            finished, left = await recall(store, requests)
        return {base: (requests[base], rollout) for base, rollout in finished.items()}, left

    async def end(self, summary: dict[str, Any]) -> None:
        if self._store:
            from gym_core.store import Store

            async with await Store.open(self._store) as store:
                await store.finish_run(self._run_id, "done", summary)


def _policy_id(config: PolicyConfig, sampling: Sampling, seed: int) -> str:
    """Names what plays: rollouts of another policy, seed or sampling are others, also in the same output file."""
    played = [config.checkpoint, config.upstream_url, config.upstream_model, sampling, seed]
    return hashlib.blake2b(msgspec.json.encode(played), digest_size=4).hexdigest()


def _show(summary: dict[str, Any], output: Path, failed: int) -> None:
    mean = summary["mean_reward"]
    scores = "  ".join(f"{name} {value:.3f}" for name, value in summary.items() if name.startswith("pass@"))
    click.echo(f"{summary['tasks']} tasks, mean reward {'–' if mean is None else f'{mean:.3f}'}  {scores}")
    click.echo("outcomes: " + ", ".join(f"{name} {count}" for name, count in summary["outcomes"].items()))
    if failed:
        why = "".join(f" ({error})" for error in summary["errors"])
        click.secho(
            f"{failed} rollouts have no score{why}; run the same command again to retry them", fg="yellow", err=True
        )
    click.echo(f"rollouts: {output}")
