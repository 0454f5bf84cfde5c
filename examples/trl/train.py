"""GRPO with TRL on Palaestra's environments: `python examples/trl/train.py --help`, and README.md beside this."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from datasets import Dataset
from rollouts import Rollouts, messages, reward
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer

from gym_core.sdk import Client

SHOWN = ("reward", "reward_std", "loss", "grad_norm", "completions/mean_length")


def main() -> None:
    options = parse()
    with Client(options.agent) as client:
        rows = [
            row
            for name in options.environment
            for row in client.tasks(name, level=options.level, count=options.tasks, seed=options.seed)
        ]
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype="float32")
    steady(model)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(Path(options.model) / "tokenizer.json"), eos_token="<|im_end|>", pad_token="</s>"
    )
    tokenizer.chat_template = "{{ messages[-1]['content'] }}"  # never used: the policy server renders
    sampling = {"temperature": 1.0, "max_output_tokens": options.max_output_tokens}
    with Rollouts(options.agent, options.policy, rows, **sampling) as rollouts:
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=reward,
            args=arguments(options),
            train_dataset=Dataset.from_list([{"prompt": messages(row)} for row in rows]),
            processing_class=tokenizer,
            rollout_func=rollouts,
        )
        trainer.train()
    for entry in trainer.state.log_history:
        if "reward" in entry:
            print(json.dumps({"step": entry["step"], **{name: entry[name] for name in SHOWN}}))
    if options.output:
        trainer.save_model(options.output)


def arguments(options: argparse.Namespace) -> GRPOConfig:
    return GRPOConfig(
        output_dir=options.output or "trl-output",
        per_device_train_batch_size=options.prompts * options.group_size,
        num_generations=options.group_size,
        max_completion_length=options.max_output_tokens,
        max_steps=options.steps,
        learning_rate=options.lr,
        lr_scheduler_type="constant",
        temperature=1.0,
        beta=0.0,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=options.cpu,
        bf16=False,
        gradient_checkpointing=False,
        seed=options.seed,
    )


def steady(model: object) -> None:
    """transformers clamps the hybrid's time step on its slow path and nowhere else; the served model does not."""
    for layer in getattr(getattr(model, "model", None), "layers", ()):
        if hasattr(layer.mixer, "time_step_limit"):
            layer.mixer.time_step_limit = (0.0, float("inf"))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agent", required=True, help="the agent server, such as http://127.0.0.1:8100")
    parser.add_argument("--policy", required=True, help="the policy server that serves --model, on this machine")
    parser.add_argument("--model", required=True, help="the checkpoint's folder")
    parser.add_argument("--environment", action="append", required=True, help="may be repeated")
    parser.add_argument("--level", type=int, default=0)
    parser.add_argument("--tasks", type=int, default=64, help="tasks of each environment")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=4, help="prompts per step")
    parser.add_argument("--group-size", type=int, default=4)
    parser.add_argument("--max-output-tokens", type=int, default=24)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="", help="where the trained model goes")
    parser.add_argument("--cpu", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
