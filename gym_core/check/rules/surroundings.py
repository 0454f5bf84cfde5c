"""What the environment takes from its surroundings: chance, the network, time and memory. Asked last, of everything
that the other rules made it do."""

from __future__ import annotations

from gym_core.check.children import Sight
from gym_core.check.rule import Failed, rule
from gym_core.check.subject import Subject
from gym_core.errors import PalaestraError

UNDECLARED = "declared is no network, asked for was"


def told(sights: list[Sight], kind: str) -> str:
    """What the guard saw of one kind, the first few."""
    return "; ".join([f"{sight.what} at {sight.place}" for sight in sights if sight.kind == kind][:4])


@rule(
    "global_random",
    "nothing draws from the global generator",
    fix="use the `rng` that `make` is given, and `session.rng` in tools; derive others with gym_core.seeds.rng",
)
async def global_random(subject: Subject) -> str:
    await _lived(subject)
    seen = told(subject.den.sights(), "random")
    if subject.seen.numpy_drawn:
        seen = "; ".join(filter(None, [seen, "numpy.random's global generator while tasks were made"]))
    if seen:
        raise Failed(seen)
    return "none seen"


@rule(
    "network",
    'no address beyond this machine is asked for, unless the manifest says `network = "outbound"`',
    fix='ship the data with the environment, or declare `network = "outbound"`',
)
async def network(subject: Subject) -> str:
    await _lived(subject)
    seen = told(subject.den.sights(), "network")
    if seen and subject.manifest.network != "outbound":
        raise Failed(f"{UNDECLARED} {seen}")
    return seen or "none asked for"


@rule(
    "cost",
    "the service starts soon and stays small",
    fix="import heavy libraries inside methods and in `warm()` with `worker = True`; hold no large data in the service",
)
async def cost(subject: Subject) -> str:
    service, options = subject.service, subject.options
    memory_mb = service.memory_mb()
    subject.figures.startup_s = service.startup_s
    subject.figures.memory_mb = memory_mb
    subject.figures.tasks_per_s = subject.seen.tasks_per_s
    wrong = []
    if service.startup_cpu_s > options.startup_cpu_s:
        wrong.append(f"starting took {service.startup_cpu_s:.1f} s of CPU, the budget is {options.startup_cpu_s:g}")
    if service.startup_mb > options.memory_mb:
        wrong.append(f"the service starts with {service.startup_mb:.0f} MB, the budget is {options.memory_mb:g}")
    if memory_mb > options.total_memory_mb:
        wrong.append(f"with its worker it holds {memory_mb:.0f} MB, the budget is {options.total_memory_mb:g}")
    if wrong:
        raise Failed("; ".join(wrong))
    return f"{service.startup_s:.2f} s, {service.startup_mb:.0f} MB at the start, {memory_mb:.0f} MB now"


async def _lived(subject: Subject) -> None:
    """One rollout of each level, so that every method of the author has been called."""
    for task in {task.level: task for task in subject.seen.tasks}.values():
        try:
            await subject.play(task, task.script)
        except (PalaestraError, Failed):
            continue  # other rules say so; what was seen until then counts
