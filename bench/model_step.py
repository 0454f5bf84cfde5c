"""Our hybrid model and transformers' NemotronH side by side: the same weights, the same tokens, one run, CPU, fp32.

Rows: a training step (forward, backward, torch's fused AdamW on both sides) on rollouts of different lengths, ours
packed, transformers' padded as it is trained; the same on sequences of one length, where it pays for no padding;
prefill; decoding one token at batch 1, 16 and 64 after a context. transformers runs in each of its own forms (attention
eager or sdpa, experts eager, batched or grouped) and its best one counts; ours runs compiled where there is a compiler
and PALAESTRA_NATIVE is not 0 (`ours_form`). Before anything is timed the two must agree: `difference` is that of the
losses, or the largest between logits. `--threads 1` (default) times by CPU time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

from model.checkpoint import load_pretrained, save_pretrained
from model.config import HybridConfig
from model.kernels.native.library import library
from model.stack import HybridModel
from model.timing import Form, best_ms, decode_token, drawn, drawn_sequences, read_prompt, train_step

ROLLOUTS = [40 + 24 * number for number in range(16)]  # 40 to 400 tokens, 220 in the mean
EQUAL, PREFILL, DECODE, CONTEXT = [160] * 16, (4, 256), (1, 16, 64), 128
TOLERANCE = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the rows as one JSON object")
    parser.add_argument("--quick", action="store_true", help="short turns")
    parser.add_argument("--vocab", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = measure(HybridConfig.tiny(options.vocab), 0.2 if options.quick else 1.0, options.only)
    if options.json:
        about = {"threads": options.threads, "torch": torch.__version__, "ours_form": ours_form()}
        print(json.dumps(about | {"rows": rows}, indent=1))
        return
    print(f"ours: {ours_form()}")
    print(f"{'what':24}{'ours_ms':>10}{'transformers_ms':>17}{'ratio':>8}{'difference':>12}  best form of transformers")
    for row in rows:
        times = f"{row['ours_ms']:>10.3f}{row['transformers_ms']:>17.3f}{row['ratio']:>8.2f}"
        print(f"{row['what']:24}{times}{row['difference']:>12.1e}  {row['transformers_form']}")


def ours_form() -> str:
    return "step by step" if library(torch.float32) is None else "compiled layers"


def measure(config: HybridConfig, budget_s: float, only: str = "") -> list[dict[str, Any]]:
    """One row for each kind of work: what, ours_ms, transformers_ms, ratio, difference, transformers_form."""
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(HybridModel(config), folder)
        pairs: list[tuple[str, Callable[[HybridModel], Form], Callable[[Any, HybridModel], Form]]] = [
            ("train step, rollouts", lambda m: train_step(m, ROLLOUTS), lambda p, m: peer_train(p, m, ROLLOUTS)),
            ("train step, equal", lambda m: train_step(m, EQUAL), lambda p, m: peer_train(p, m, EQUAL)),
            (f"prefill {PREFILL[0]} x {PREFILL[1]}", lambda m: read_prompt(m, *PREFILL), peer_prompt),
        ]
        for batch in DECODE:
            pairs.append(
                (
                    f"decode batch {batch}",
                    lambda m, b=batch: decode_token(m, b, CONTEXT),  # type: ignore[misc]
                    lambda p, m, b=batch: peer_decode(p, m, b),  # type: ignore[misc]
                )
            )
        return [_row(Path(folder), *pair, budget_s) for pair in pairs if only in pair[0]]


def _row(
    folder: Path,
    what: str,
    ours: Callable[[HybridModel], Form],
    theirs: Callable[[Any, HybridModel], Form],
    budget_s: float,
) -> dict[str, Any]:
    model = load_pretrained(folder)
    forms = {"ours": ours(model)}
    forms |= {name: theirs(peer, model) for name, peer in peers(folder)}
    expected = torch.as_tensor(forms["ours"]())
    difference = max(float((torch.as_tensor(run()) - expected).abs().max()) for run in list(forms.values())[1:])
    if difference > TOLERANCE:
        raise SystemExit(f"{what}: transformers differs by {difference}, nothing was timed")
    times = best_ms(forms, budget_s)
    took = times.pop("ours")
    best = min(times, key=lambda name: times[name])
    return {
        "what": what,
        "ours_ms": round(took, 4),
        "transformers_ms": round(times[best], 4),
        "ratio": round(times[best] / took, 2),
        "difference": difference,
        "transformers_form": best,
        "transformers_forms_ms": {name: round(value, 4) for name, value in times.items()},
    }


def peers(folder: Path) -> list[tuple[str, Any]]:
    """transformers' model of this checkpoint in every form it has."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore")
    found = []
    for attention, experts in product(("eager", "sdpa"), ("eager", "batched_mm", "grouped_mm")):
        peer = transformers.NemotronHForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation=attention, experts_implementation=experts
        )
        for layer in peer.model.layers:
            if hasattr(layer.mixer, "time_step_limit"):
                # It clamps dt on this path and nowhere else; the model it describes does not.
                layer.mixer.time_step_limit = (0.0, float("inf"))
        found.append((f"{attention} attention, {experts} experts", peer))
    return found


def peer_train(peer: Any, model: HybridModel, lengths: list[int]) -> Form:
    sequences = drawn_sequences(model, lengths)
    rows = pad_sequence(sequences, batch_first=True)
    mask = pad_sequence([torch.ones_like(sequence) for sequence in sequences], batch_first=True)
    targets = rows[:, 1:].masked_fill(mask[:, 1:] == 0, -100).flatten()
    inputs = {"input_ids": rows} | ({} if bool(mask.all()) else {"attention_mask": mask})
    optimizer = torch.optim.AdamW(peer.parameters(), lr=1e-5, fused=True)

    def run() -> float:
        peer.train()
        optimizer.zero_grad(set_to_none=True)
        logits = peer(**inputs, use_cache=False).logits[:, :-1]
        loss = F.cross_entropy(logits.flatten(0, 1).float(), targets)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return run


def peer_prompt(peer: Any, model: HybridModel) -> Form:
    rows = drawn(model, *PREFILL)[0].view(PREFILL)
    peer.eval()

    def run() -> torch.Tensor:
        with torch.inference_mode():
            logits: torch.Tensor = peer(rows, use_cache=True, logits_to_keep=1).logits[:, -1]
        return logits

    return run


def peer_decode(peer: Any, model: HybridModel, batch: int) -> Form:
    rows = drawn(model, batch, CONTEXT)[0].view(batch, CONTEXT)
    peer.eval()
    with torch.inference_mode():
        cache = peer(rows, use_cache=True).past_key_values
    last = rows[:, -1:]

    def run() -> torch.Tensor:
        with torch.inference_mode():
            logits: torch.Tensor = peer(last, past_key_values=cache, use_cache=True).logits[:, -1]
        for layer in cache.layers:  # as ours: every call does the same work
            if getattr(layer, "keys", None) is not None:
                layer.keys, layer.values = layer.keys[:, :, :CONTEXT], layer.values[:, :, :CONTEXT]
        return logits

    return run


if __name__ == "__main__":
    main()
