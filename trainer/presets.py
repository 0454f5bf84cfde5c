"""Published algorithms by name: the values of `[objective]` that make this trainer compute them.

    [objective]
    preset = "dapo"
    clip_high = 0.3          # what is written beside the preset wins

Several may be named, `preset = ["dapo", "tis"]`; the later one wins. `nano` is the open recipe of Nemotron 3 Nano
(NeMo RL `grpo_nanov3`): token-level weights against the sampler as they are, sequences whose mean exp|Δ log π| passes 2
dropped, leave-one-out advantages in NeMo RL's own normalisation.
"""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # arXiv 2402.03300: mean over tokens, then over sequences; symmetric clip; KL to the reference
    "grpo": {"normalise_over": "all", "clip_low": 0.2, "clip_high": 0.2, "aggregate": "sequence", "kl_coef": 0.04},
    # arXiv 2503.14476: clip-higher, token-level sum, no KL, truncated rollouts not trained on
    "dapo": {"clip_low": 0.2, "clip_high": 0.28, "aggregate": "token", "mask_truncated": True},
    # arXiv 2503.20783: no division by the group's spread, none by the length
    "dr_grpo": {"normalise_over": "all", "clip_low": 0.2, "clip_high": 0.2, "aggregate": "constant", "scale": "none"},
    # arXiv 2507.18071, section 5.1: the ratio of whole sequences, clipped within ten-thousandths
    "gspo": {
        "normalise_over": "all",
        "clip_low": 3e-4,
        "clip_high": 4e-4,
        "ratio": "sequence",
        "aggregate": "sequence",
    },
    # arXiv 2506.13585: the weight is clipped from above, no token loses its gradient
    "cispo": {"normalise_over": "all", "clip_low": 1.0, "clip_high": 4.0, "clip": "weight", "aggregate": "token"},
    # NeMo RL examples/nemo_gym/grpo_nanov3.yaml
    "nano": {
        "normalise_over": "all",
        "clip_low": 0.2,
        "clip_high": 0.28,
        "aggregate": "token",
        "baseline": "leave_one_out",
        "scale": "published_leave_one_out",
        "mask_truncated": True,
        "importance": "truncate",
        "importance_high": 1e9,  # no bound in practice; recipes are kept as JSON, which has no infinity
        "sequence_error_max": 2.0,
    },
    # IcePop, arXiv 2510.18855, with the bounds of NeMo RL's option of that name
    "icepop": {"importance": "mask", "importance_unit": "token", "importance_low": 0.5, "importance_high": 5.0},
    # truncated importance sampling, fengyao.notion.site/off-policy-rl
    "tis": {"importance": "truncate", "importance_unit": "token", "importance_low": 0.0, "importance_high": 2.0},
    # sequences whose geometric mean leaves a narrow band are dropped, the others keep their token weights
    "seq-mask-tis": {
        "importance": "reject",
        "importance_unit": "sequence_geometric",
        "importance_low": 0.999,
        "importance_high": 1.002,
    },
}
"""Overrides of `ObjectiveRecipe` by name: algorithms first, then corrections for sampler against trainer."""
