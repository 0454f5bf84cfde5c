"""Policy engines side by side: the same weights, the same prompts, one run, each engine in a process of its own.

    ready_s                from starting the process to its first token, imports and loading included
    prefill_tokens_per_s   prompt tokens over the time of a batch that asks for one token each
    decode_tokens_per_s    further tokens over the further time of a batch that asks for more
    decode_tokens_per_cpu_s  the same over the processor time of the process: what holds on a machine that others use
    memory_mb              the process's peak resident memory

Engines: ours (`embedded`; also `deterministic` when asked for), transformers' `generate`, and vLLM where
`make vllm` put it or `--vllm PYTHON` says; an engine that is not there has a row that says so.
Every timing is the best of its rounds, on as many threads as `--threads` says.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

VOCAB, PROMPT, PROMPT_QUICK, ANSWER, ANSWER_QUICK = 4096, 128, 64, 64, 16
SIXTY: dict[str, Any] = {
    "hidden_size": 512,
    "hybrid_override_pattern": "MEMEM*EMEME",
    "num_attention_heads": 8,
    "head_dim": 64,
    "mamba_num_heads": 16,
    "mamba_head_dim": 64,
    "ssm_state_size": 64,
    "n_routed_experts": 16,
    "moe_intermediate_size": 512,
    "moe_shared_expert_intermediate_size": 512,
}
Generate = Callable[[int, int, int], None]
"""generate(sequences, tokens of each answer, round): returns when all of them are there."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the rows as one JSON object")
    parser.add_argument("--quick", action="store_true", help="shorter prompts and answers, one round")
    parser.add_argument("--models", nargs="+", choices=("tiny", "60m"), default=["tiny", "60m"])
    parser.add_argument("--engines", nargs="+", choices=tuple(ENGINES), default=[*ENGINES][:3])
    parser.add_argument("--sequences", nargs="+", type=int, default=[1, 16, 64])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--vllm", default=os.environ.get("PALAESTRA_VLLM_PYTHON", ""), help="an interpreter with vLLM")
    parser.add_argument("--child", nargs=3, metavar=("ENGINE", "FOLDER", "STARTED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child[0], Path(options.child[1]), float(options.child[2]), options)))
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for model in options.models:
            save(model, Path(folder) / model)
            for engine in options.engines:
                rows += [
                    {"engine": engine, "model": model} | row for row in spawn(engine, Path(folder) / model, options)
                ]
    if options.json:
        print(json.dumps({"threads": options.threads, "quick": options.quick, "rows": rows}, indent=1))
    else:
        show(rows)


def save(name: str, folder: Path) -> None:
    """Write a checkpoint of random weights with its tokenizer."""
    from model.checkpoint import save_pretrained
    from model.config import HybridConfig
    from model.stack import HybridModel
    from model.tokenizer import Tokenizer

    config = HybridConfig.tiny(VOCAB, **(SIXTY if name == "60m" else {}))
    tokenizer = Tokenizer.train([], 256 + 18)
    save_pretrained(HybridModel(config, seed=0), folder, also=tokenizer.save)


def spawn(engine: str, folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one engine, measured in a process of its own; one row that says why there are none."""
    python = _vllm_python(options) if engine == "vllm" else sys.executable
    if not python or (engine == "transformers" and importlib.util.find_spec("transformers") is None):
        return [{"status": "not installed"}]
    command = [
        python,
        __file__,
        "--child",
        engine,
        str(folder),
        str(time.monotonic()),
        "--threads",
        str(options.threads),
    ]
    command += ["--sequences", *map(str, options.sequences)] + ["--quick"] * options.quick
    root = str(Path(__file__).resolve().parents[1])
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": str(options.threads)}
    if engine == "vllm":
        from policy_server.config import PolicyConfig
        from policy_server.vllm.recipe import environment as recipe

        environment = recipe(PolicyConfig(num_threads=options.threads), os.environ)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return [{"status": f"failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"}]
    return json.loads(done.stdout.splitlines()[-1])


def _vllm_python(options: argparse.Namespace) -> str:
    """The interpreter that is named, or the one of scripts/install_vllm.py; empty where there is neither."""
    from gym_core.errors import BadRequest
    from policy_server.config import PolicyConfig
    from policy_server.vllm.recipe import interpreter

    try:
        return str(interpreter(PolicyConfig(vllm_python=options.vllm)))
    except BadRequest:
        return ""


def measure(engine: str, folder: Path, started: float, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of one engine, one for each number of sequences; the process was `started` at that monotonic second."""
    prompt, answer = (PROMPT_QUICK, ANSWER_QUICK) if options.quick else (PROMPT, ANSWER)
    generate, close = ENGINES[engine](folder, prompt, options)
    generate(1, 1, 0)
    ready_s = time.monotonic() - started
    rows = []
    for count in options.sequences:
        generate(count, 2, 0)
        one, one_processor = best(generate, count, 1, options)
        more, more_processor = best(generate, count, answer, options)
        rows.append(
            {
                "status": "measured",
                "sequences": count,
                "ready_s": round(ready_s, 2),
                "decode_tokens_per_s": round(count * (answer - 1) / (more - one), 1),
                "prefill_tokens_per_s": round(count * prompt / one, 1),
                "decode_tokens_per_cpu_s": round(count * (answer - 1) / (more_processor - one_processor), 1),
                "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            }
        )
    close()
    return rows


def best(generate: Generate, count: int, tokens: int, options: argparse.Namespace) -> tuple[float, float]:
    """The shortest time of a batch, and the least processor time, in seconds."""
    times, processor = [], []
    for number in range(1 if options.quick else 3):
        began, began_processor = time.perf_counter(), time.process_time()
        generate(count, tokens, number + 1)
        times.append(time.perf_counter() - began)
        processor.append(time.process_time() - began_processor)
    return min(times), min(processor)


def prompts(count: int, length: int, number: int) -> list[list[int]]:
    """Prompts that no two sequences of a round share."""
    return [[20 + (7 * i + 13 * j + 101 * number) % (VOCAB - 20) for j in range(length)] for i in range(count)]


def embedded(
    folder: Path, length: int, options: argparse.Namespace, deterministic: bool = False
) -> tuple[Generate, Callable[[], None]]:
    from policy_server.config import PolicyConfig
    from policy_server.launch import open_backend
    from policy_server.requests import GenerateRequest

    config = PolicyConfig(
        checkpoint=str(folder),
        num_slots=max(options.sequences),
        num_prefixes=0,
        max_length=length + ANSWER,
        num_threads=options.threads,
        deterministic=deterministic,
    )
    backend, _ = open_backend(config)
    loop = asyncio.new_event_loop()

    async def ask(count: int, tokens: int, number: int) -> None:
        requests = [
            GenerateRequest(prompt_token_ids=ids, max_tokens=tokens, ignore_eos=True, seed=i)
            for i, ids in enumerate(prompts(count, length, number))
        ]
        await asyncio.gather(*map(backend.generate, requests))

    def close() -> None:
        loop.run_until_complete(backend.close())
        loop.close()

    return lambda *given: loop.run_until_complete(ask(*given)), close


def deterministic(folder: Path, length: int, options: argparse.Namespace) -> tuple[Generate, Callable[[], None]]:
    return embedded(folder, length, options, deterministic=True)


def transformers(folder: Path, length: int, options: argparse.Namespace) -> tuple[Generate, Callable[[], None]]:
    import torch
    import transformers as library

    library.logging.set_verbosity_error()
    library.logging.disable_progress_bar()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.threads)
    model = library.NemotronHForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def generate(count: int, tokens: int, number: int) -> None:
        ids = torch.tensor(prompts(count, length, number))
        with torch.inference_mode():
            model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=True,
                pad_token_id=0,
            )

    return generate, lambda: None


def vllm(folder: Path, length: int, options: argparse.Namespace) -> tuple[Generate, Callable[[], None]]:
    """Runs under vLLM's own interpreter, with our plugin and the recipe of docs/serving.md, in one process."""
    from vllm import LLM, SamplingParams

    engine = LLM(
        model=str(folder),
        dtype="float32",
        skip_tokenizer_init=True,
        max_model_len=length + ANSWER,
        max_num_seqs=max(options.sequences),
        enable_prefix_caching=False,
        enforce_eager=True,
        kv_cache_memory_bytes=512 << 20,
    )

    def generate(count: int, tokens: int, number: int) -> None:
        asked = [{"prompt_token_ids": ids} for ids in prompts(count, length, number)]
        sampling = SamplingParams(max_tokens=tokens, ignore_eos=True, detokenize=False)
        engine.generate(asked, sampling, use_tqdm=False)

    return generate, lambda: None


ENGINES = {"embedded": embedded, "transformers": transformers, "vllm": vllm, "deterministic": deterministic}


def show(rows: list[dict[str, Any]]) -> None:
    columns = ("sequences", "ready_s", "decode_tokens_per_s", "prefill_tokens_per_s", "decode_tokens_per_cpu_s")
    columns += ("memory_mb",)
    print(f"{'engine':16}{'model':8}" + "".join(f"{column:>25}" for column in columns))
    for row in rows:
        values = "".join(f"{row[column]:>25}" for column in columns) if "sequences" in row else f"  {row['status']}"
        print(f"{row['engine']:16}{row['model']:8}{values}")


if __name__ == "__main__":
    main()
