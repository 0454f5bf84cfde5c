"""GRPO steps of TRL's GRPOTrainer on a checkpoint and prompts given as a file. Run by the Python of TRL's environment.

Prints one JSON object: seconds of each step and what it spent on generating, as TRL's own logs tell them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
import urllib.request
from pathlib import Path
from typing import Any

END_OF_TURN = "<|im_end|>"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path, help="JSON: checkpoint, rows, prompts, group, steps, max_output, lr, threads")
    job = json.loads(parser.parse_args().job.read_text())
    print(json.dumps(run(job)))


def run(job: dict[str, Any]) -> dict[str, Any]:
    import datasets
    import torch
    import transformers
    import trl

    torch.set_num_threads(job["threads"])
    rows = [{"prompt": row["messages"], "row": row["row"]} for row in job["rows"]]
    model = transformers.AutoModelForCausalLM.from_pretrained(job["checkpoint"], dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["checkpoint"])
    tokenizer.eos_token = END_OF_TURN  # TRL stops at, and masks after, this one token
    steps = Steps()
    trainer = trl.GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=verifier(job["environments"]),
        args=settings(trl, job),
        train_dataset=datasets.Dataset.from_list(rows),
        callbacks=[steps.callback(transformers)],
    )
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "reward" in entry]
    return {
        "version": f"trl {trl.__version__}, transformers {transformers.__version__}",
        "step_seconds": steps.seconds,
        "cpu_seconds": steps.cpu_seconds,
        "completion_tokens": [entry["completions/mean_length"] * job["prompts"] * job["group"] for entry in logged],
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "rewards": [entry["reward"] for entry in logged],
    }


def settings(trl: Any, job: dict[str, Any]) -> Any:
    """One optimizer step per batch of prompts x group, on policy; nothing saved, nothing reported."""
    batch = job["prompts"] * job["group"]
    return trl.GRPOConfig(
        output_dir=job["output"],
        per_device_train_batch_size=batch // job["accumulate"],
        gradient_accumulation_steps=job["accumulate"],
        num_generations=job["group"],
        max_completion_length=job["max_output"],
        max_steps=job["steps"],
        learning_rate=job["lr"],
        lr_scheduler_type="constant",
        beta=0.0,
        temperature=1.0,
        top_p=1.0,
        num_iterations=1,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        chat_template_kwargs={"enable_thinking": False},
    )


def verifier(url: str) -> Any:
    """A reward function that asks the environments, sixteen answers at a time, as TRL's users write it."""
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(16)

    def ask(row: str, text: str) -> float:
        body = json.loads(row)
        said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
        sent = json.dumps({**body, "response": {"output": [said]}}).encode()
        headers = {"Content-Type": "application/json", "Prefer": "return=minimal"}
        request = urllib.request.Request(f"{url}/{body['environment']}/verify", sent, headers)
        with urllib.request.urlopen(request, timeout=60) as reply:
            return float(json.load(reply)["verdict"]["reward"])

    def reward(completions: list[Any], row: list[str], **_: Any) -> list[float]:
        return list(pool.map(ask, row, [completion[-1]["content"] for completion in completions]))

    return reward


class Steps:
    """Wall and CPU seconds of each optimizer step with the generation before it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []

    def callback(self, transformers: Any) -> Any:
        outer = self

        class Clock(transformers.TrainerCallback):  # type: ignore[misc,name-defined]
            def on_step_begin(self, *_: Any, **__: Any) -> None:
                self.began, self.cpu = outer.now()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                now, cpu = outer.now()
                outer.seconds.append(now - self.began)
                outer.cpu_seconds.append(cpu - self.cpu)

        return Clock()

    @staticmethod
    def now() -> tuple[float, float]:
        times = os.times()
        return time.perf_counter(), times.user + times.system


if __name__ == "__main__":
    main()
