"""Publishing weights against the rate of `torch.copy_`: each transport, the same tensors, in one run.

`served_s` is from the call to the moment the policy server samples from the new weights, `write_s` the learner's part
of it; `verified_s` adds the checksums of both sides; canaries are left out. `of_copy` is the rate up to `served_s` over
that of copying every tensor of the model into another one, with as many threads; forms take turns and each keeps its
best time, the first one (memory touched for the first time) apart. Shared memory, http and disk go to a server process
of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from checkpoint import filled

from gym_core.client import Client
from gym_core.serve import start
from model.checkpoint import save_pretrained, state_tensors
from model.checkpoint_pieces import byte_view
from model.config import HybridConfig
from model.stack import HybridModel
from model.tokenizer import Tokenizer
from palaestra.processes import start_service
from policy_server.app import build_app
from policy_server.config import PolicyConfig
from policy_server.launch import embed
from trainer import transports
from trainer.config import GrpoRecipe, ObjectiveRecipe
from trainer.learner import Learner
from trainer.placement import LocalPlacement
from trainer.transports import Phases

LIMIT_S = 600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the rows as one JSON object")
    parser.add_argument("--experts", type=int, default=33, help="routed experts of the one MoE layer, 20 MB each")
    parser.add_argument("--rounds", type=int, default=6, help="turns of every form")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch, for copying and for publishing")
    parser.add_argument("--only", nargs="*", choices=transports.NAMES, default=transports.NAMES)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = asyncio.run(measure(options.experts, options.rounds, list(options.only)))
    if options.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{result['bytes'] / 1e9:.2f} GB in {result['tensors']} tensors; crc32 {result['crc32_gb_per_s']:.1f} GB/s")
    print(f"{'what':16}{'first_s':>10}{'write_s':>9}{'served_s':>10}{'verified_s':>11}{'GB/s':>8}{'of_copy':>9}")
    for row in result["rows"]:
        print(
            f"{row['what']:16}{row['first_s']:>10.3f}{row['write_s']:>9.3f}{row['served_s']:>10.3f}{row['verified_s']:>11.3f}"
            f"{row['gb_per_s']:>8.2f}{row['of_copy']:>9.2f}"
        )


async def measure(experts: int, rounds: int, names: list[str]) -> dict[str, Any]:
    """Rows of what, first_s, served_s, verified_s, gb_per_s, of_copy."""
    config = replace(HybridConfig.nano(), hybrid_override_pattern="ME*", n_routed_experts=experts, vocab_size=16384)
    model = filled(config)
    model.requires_grad_(False)
    other = _empty(config)
    size = sum(tensor.nbytes for _, tensor in state_tensors(model))
    pairs = list(zip(model.state_dict().values(), other.state_dict().values(), strict=True))

    def copy() -> None:
        for source, target in pairs:
            target.copy_(source)

    placement = LocalPlacement()
    learner = await placement.place(lambda: Learner(model, GrpoRecipe(), ObjectiveRecipe()))
    times: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ("torch copy_", *names)}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = Tokenizer.train(["two and three"] * 20, vocab_size=320)
        save_pretrained(model, Path(folder) / "model", also=tokenizer.save)
        arguments = ["serve", "--model", f"{folder}/model", "--slots", "1", "--config", str(_bfloat16(Path(folder)))]
        service = await start_service("policy", arguments, Path(folder))
        settings = PolicyConfig(num_slots=1, num_prefixes=0, max_length=64)
        engine = embed(_empty(config), tokenizer, settings).start()
        served = await start(build_app(engine, tokenizer, settings))
        try:
            async with Client(served.url) as near, Client(service.url) as far:
                version = 0
                for _ in range(rounds):
                    times["torch copy_"].append(_timed(copy))
                    for name in names:
                        version += 1
                        client = near if name == "in_process" else far
                        times[name].append(await _publish(name, learner, client, version))
        finally:
            await served.close()
            await engine.close()
            await service.stop()
            await placement.close()
    copied = min(each for each, _, _ in times["torch copy_"])
    rows = [
        {
            "what": name,
            "first_s": round(found[0][0], 4),
            "write_s": round(min(each for _, _, each in found), 4),
            "served_s": round(best := min(each for each, _, _ in found), 4),
            "verified_s": round(min(each for _, each, _ in found), 4),
            "gb_per_s": round(size / best / 1e9, 3),
            "of_copy": round(copied / best, 3),
        }
        for name, found in times.items()
    ]
    return {"bytes": size, "tensors": len(pairs), "crc32_gb_per_s": _crc_rate(model), "rows": rows}


async def _publish(name: str, learner: Any, client: Client, version: int) -> tuple[float, float, float]:
    """(seconds until served, until verified, and of them until the learner had written)."""
    transport, phases = transports.make(name), Phases(LIMIT_S)
    order = {"version": version, "switch": "between_tokens", "switch_s": LIMIT_S}
    began = time.perf_counter()
    await transport.deliver(learner, client, order, phases)
    took = time.perf_counter() - began
    await transport.close()
    return took - phases.seconds.get("verify", 0.0), took, phases.seconds["write"]


def _timed(work: Any) -> tuple[float, float, float]:
    began = time.perf_counter()
    work()
    took = time.perf_counter() - began
    return took, took, took


def _empty(config: HybridConfig) -> HybridModel:
    return HybridModel(config, device=torch.device("meta"), dtype=torch.bfloat16).to_empty(device="cpu")


def _bfloat16(folder: Path) -> Path:
    file = folder / "policy.toml"
    file.write_text('[policy]\ndtype = "bfloat16"\nmax_length = 64\nnum_prefixes = 0\n')
    return file


def _crc_rate(model: HybridModel) -> float:
    view = byte_view(model.embeddings.weight)
    took = min(_timed(lambda: zlib.crc32(view))[0] for _ in range(3))
    return round(len(view) / took / 1e9, 2)


if __name__ == "__main__":
    main()
