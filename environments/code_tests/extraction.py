"""The program in a reply: what stands between the last two lines with ``` (code_gen's rule, NVIDIA-NeMo/Gym)."""

from __future__ import annotations

FENCE = "```"


def extract_code(text: str) -> str:
    """The code, or an empty string where there are fewer than two such lines."""
    lines = text.split("\n")
    fences = [number for number, line in enumerate(lines) if FENCE in line]
    if len(fences) < 2:
        return ""
    return "\n".join(lines[fences[-2] + 1 : fences[-1]])
