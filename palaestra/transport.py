"""How new weights reach the policy server of a run: as the recipe says, or the fastest way between where the two are.

    a server that was named             a file in the folder that it shares with us
    learner and engine in one process   an exchange of addresses
    both on one machine                 shared memory, also from a learner of several processes
    anything else                       HTTP, from the learner to the policy server or to the router of its replicas

Replicas may be placed again on another node, so shared memory to them takes a cluster that is one machine.
"""

from __future__ import annotations

from pathlib import Path

from gym_core.telemetry import logger
from palaestra.line import Line
from palaestra.services import WEIGHTS
from trainer import transports
from trainer.placement import LocalPlacement

log = logger("train")


async def transport_of(line: Line) -> transports.Transport:
    """The transport of a run whose learner and policy are placed; the log says which and why."""
    if line.services.policy:
        folder = Path(line.services.shared).absolute() / WEIGHTS
        folder.mkdir(parents=True, exist_ok=True)
        log.info("weights go by disk: the policy server was named and shares a folder with us")
        return transports.Disk(folder)
    asked = line.recipe.policy.transport
    name, why = await _fastest(line) if asked == "auto" else (asked, "the recipe says so")
    log.info("weights go by %s: %s", name, why)
    return transports.make(name)


async def _fastest(line: Line) -> tuple[str, str]:
    """The name of the transport, and why it is that one."""
    several = line.recipe.layout.processes > 1 or line.recipe.policy.replicas > 1
    if isinstance(line.placement, LocalPlacement):
        if several:
            return "shared_memory", "learner and policy are several processes of this machine"
        return "in_process", "learner and policy are in this process"
    if line.recipe.policy.replicas > 1:
        if (nodes := await line.placement.machines()) > 1:
            return "http", f"the replicas may be on any of {nodes} machines"
        return "shared_memory", "learner and replicas are on one machine"
    learner, policy = await line.learner.call("machine"), await line.policy.call("machine")
    if learner == policy:
        return "shared_memory", "learner and policy are on one machine"
    return "http", "learner and policy are on different machines"
