"""Palaestra as the rollout function of TRL's `GRPOTrainer`: tokens, log-probabilities, mask and reward in one call.

    prompts of a step ─▶ rows ─▶ POST /rollouts ─▶ prompt_ids, completion_ids, logprobs, env_mask, reward
    new step ─▶ weights to a file ─▶ POST /weights ─▶ the next rollouts are sampled from them

`env_mask` is 1 for tokens that the policy sampled: tool results and forced tokens are read and not learnt from.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
from safetensors.torch import save_file

from gym_core.sdk import Client, Played

Row = dict[str, Any]
Message = dict[str, Any]

TRIES = 3


class Rollouts:
    """What `GRPOTrainer(rollout_func=…)` is given."""

    def __init__(self, agent_url: str, policy_url: str, rows: Sequence[Row], **sampling: Any) -> None:
        self._client = Client(agent_url)
        self._policy_url = policy_url
        self._rows = {prompt_key(messages(row)): row for row in rows}
        self._sampling = sampling
        self._version = httpx.get(f"{policy_url}/version", timeout=60).json()["version"]
        self._step = 0

    def __enter__(self) -> Rollouts:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def __call__(self, prompts: list[list[Message]], trainer: Any) -> dict[str, list[Any]]:
        """One completion for each prompt, in order; prompts that repeat are the members of a group."""
        if trainer.state.global_step != self._step:
            self._publish(trainer.model)
            self._step = trainer.state.global_step
        played = self._play(prompts)
        fields: dict[str, list[Any]] = defaultdict(list)
        for one in played:
            trace = one.traces[-1]  # where a history was rewritten, the last trace is the one that was judged
            begun = int(trace.loss_mask.argmax())
            fields["prompt_ids"].append(trace.token_ids[:begun].tolist())
            fields["completion_ids"].append(trace.token_ids[begun:].tolist())
            fields["logprobs"].append(trace.logprobs[begun:].tolist())
            fields["env_mask"].append(trace.loss_mask[begun:].astype(int).tolist())
            fields["reward"].append(one.reward)
        return dict(fields)

    def _play(self, prompts: list[list[Message]]) -> list[Played]:
        """A trainable rollout for every prompt. One that failed is played again; a failure is never a reward of zero.

        Raises RuntimeError with the last failure where a rollout fails each time.
        """
        rows = [self._rows[prompt_key(prompt)] for prompt in prompts]
        found: dict[int, Played] = {}
        for _ in range(TRIES):
            left = [number for number in range(len(rows)) if number not in found]
            if not left:
                break
            asked = [{**rows[number], "palaestra": {"labels": {"place": str(number)}}} for number in left]
            for played in self._client.rollouts(asked, sampling=self._sampling, step=self._step):
                if played.trainable and played.traces:
                    found[int(played.rollout.labels["place"])] = played
                else:
                    failure = played.rollout
        if len(found) < len(rows):
            raise RuntimeError(f"a rollout failed {TRIES} times: {failure.outcome}, {failure.error}")
        return [found[number] for number in range(len(rows))]

    def _publish(self, model: Any) -> None:
        """The model's weights, served from now on. Trainer and policy share a disk."""
        with tempfile.TemporaryDirectory(prefix="weights-") as folder:
            path = Path(folder) / "model.safetensors"
            save_file({name: tensor.detach().contiguous() for name, tensor in released(model)}, path)
            self._version += 1
            body = {"path": str(path), "version": self._version}
            httpx.post(f"{self._policy_url}/weights", json=body, timeout=300).raise_for_status()


def released(model: Any) -> Iterator[tuple[str, Any]]:
    """Tensors by the names that a checkpoint has them under."""
    with tempfile.TemporaryDirectory(prefix="checkpoint-") as folder:
        from safetensors.torch import load_file

        model.save_pretrained(folder)
        for part in sorted(Path(folder).glob("*.safetensors")):
            yield from load_file(part).items()


def messages(row: Row) -> list[Message]:
    """The row's input as chat messages."""
    given = row["responses_create_params"]["input"]
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def prompt_key(prompt: list[Message]) -> str:
    """TRL hands prompts on without the rest of their row: this finds it again."""
    return json.dumps([[one["role"], one["content"]] for one in prompt])


def reward(completions: list[Any], reward: list[float], **_: Any) -> list[float]:
    """TRL's reward function: what the environment said."""
    return reward
