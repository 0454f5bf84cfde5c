"""The public gradings, their weaknesses included: NeMo Gym's `math_formal_lean` and the Kimina server's status.

NeMo Gym: the last block of the reply (`lean4`, `lean3`, `lean`, bare), from behind the first `:=` of its first theorem
or example, is put after header and statement; 1.0 when `lean` exits with 0 and no word "sorry" stands in the first 1000
characters of its output. Axioms are never asked, so `axiom`, `native_decide` and a second theorem pay.

Kimina: the whole block is compiled as it is; an error is `lean_error`, a hole `sorry`, else `valid`, which pays 1.0.
What it proves is not asked.

Sources: NVIDIA-NeMo/Gym resources_servers/math_formal_lean (v0.6), project-numina/kimina-lean-server.
"""

from __future__ import annotations

import re
from typing import Any

from environments.lean_proofs.confined import Limits
from environments.lean_proofs.prover import Compiled, Prover
from gym_core.contracts import Verdict
from gym_core.environment import Reply
from gym_core.reply import message_text

TIMEOUT_S = 30.0
MAX_OUTPUT = 1000
_LANGUAGES = ("lean4", "lean3", "lean", "")
_HEAD = re.compile(r"\s*(theorem|example)\b")
_EDGE = re.compile(r"^\s*```(?:lean4|lean3|lean)?\s*|\s*```[\s]*$")
_SORRY = re.compile(r"\bsorry\b")


def said_text(items: list[dict[str, Any]]) -> str:
    """All that the policy said, thinking included, as OpenAI's `output_text` joins it."""
    return "".join(message_text(item) for item in items if item.get("type") == "message")


def generated_code(text: str) -> str:
    """The block that the public verifier takes."""
    for language in _LANGUAGES:
        blocks = re.findall(rf"```{language}\s*\n?(.*?)\n?```", text, re.DOTALL)
        if blocks and (code := str(blocks[-1]).strip()):
            return code
        if blocks:
            return _EDGE.sub("", text).strip()
    return _EDGE.sub("", text).strip()


def proof_only(code: str) -> str:
    """What follows the first `:=` (and `by`) at or below the first line that begins a theorem or an example."""
    lines = code.strip().splitlines()
    head = next((number for number, line in enumerate(lines) if _HEAD.match(line)), None)
    if head is None:
        return code.strip()
    at = next((number for number in range(head, len(lines)) if ":=" in lines[number]), None)
    if at is None:
        return code.strip()
    first = lines[at].split(":=", 1)[1].strip()
    kept = [first, *lines[at + 1 :]] if first else lines[at + 1 :]
    if kept:
        start = kept[0].lstrip()
        if start == "by":
            kept = kept[1:]
        elif start.startswith("by "):
            kept[0] = start[3:]
    return "\n".join(kept).rstrip()


def proof_status(status: str, stdout: str, stderr: str) -> str:
    """`completed` where it pays."""
    if status != "completed":
        return status
    return "has_sorry" if _SORRY.search(f"{stdout}\n{stderr}".lower()) else "completed"


async def grade_nemo(prover: Prover, header: str, statement: str, reply: Reply) -> Verdict:
    """The verdict of `math_formal_lean`. `statement` ends in `:= by` and a line break, as the row has it."""
    text = said_text(reply.items)
    if not text.strip():
        return Verdict(reward=0.0, details={"proof_status": "empty_generation"})
    code = header + statement + proof_only(generated_code(text))
    limits = Limits(wall_s=TIMEOUT_S, cpu_s=int(TIMEOUT_S), memory_mb=prover.limits.memory_mb)
    async with prover.scratch({"Main.lean": code}) as folder:
        finished = await prover.run(folder, "Main.lean", limits=limits)
    how = "timeout" if finished.timed_out else "completed" if finished.status == 0 else "failed"
    cut = [said.decode(errors="replace")[:MAX_OUTPUT] for said in (finished.stdout, finished.stderr)]
    status = proof_status(how, *cut)
    return Verdict(reward=float(status == "completed"), details={"proof_status": status})


def kimina_status(compiled: Compiled) -> str:
    """`valid`, `sorry`, `lean_error`, or `timeout_error` and the like where Lean did not come to an end."""
    if compiled.ended != "ok":
        return {"time": "timeout_error"}.get(compiled.ended, "server_error")
    if compiled.errors:
        return "lean_error"
    return "sorry" if compiled.holes else "valid"


async def grade_kimina(prover: Prover, reply: Reply) -> Verdict:
    """The verdict of a Kimina server on the block of the reply."""
    text = said_text(reply.items)
    if not text.strip():
        return Verdict(reward=0.0, details={"proof_status": "empty_generation"})
    async with prover.scratch({"Main.lean": generated_code(text)}) as folder:
        compiled = await prover.lean(folder, "Main.lean")
    status = kimina_status(compiled)
    return Verdict(reward=float(status == "valid"), details={"proof_status": status})
