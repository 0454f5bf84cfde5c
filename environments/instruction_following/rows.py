"""Published rows: both shapes read, every kwarg brought to its kind, what can never be graded refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from environments.instruction_following.instructions import Instruction
from environments.instruction_following.verifiers import REGISTRY, Kwargs
from gym_core.contracts import Task
from gym_core.errors import BadRow
from gym_core.nearest import nearest

MODES = ("binary", "fraction")
BENCHMARK = "ifbench"


@dataclass(frozen=True, slots=True)
class Row:
    """What a row asks. `benchmark`: it is one of IFBench's, whose server pays the share and nothing for blanks."""

    instructions: list[Instruction]
    mode: str
    benchmark: bool = False
    loose: bool = False


def read_row(task: Task) -> Row:
    """The constraints of a row and how they are graded.

    The fields lie under `verifier_metadata` or, in older rows, at the top; the former wins. Raises `BadRow`.
    """
    metadata = task.get("verifier_metadata") or {}
    if not isinstance(metadata, dict):
        raise BadRow("`verifier_metadata` must be an object", field="verifier_metadata")
    names = _field(task, metadata, "instruction_id_list", None)
    where = "verifier_metadata." if "instruction_id_list" in metadata else ""
    if not isinstance(names, list) or not names:
        raise BadRow(
            "a row needs `instruction_id_list`, a non-empty list of verifier ids",
            field=f"{where}instruction_id_list",
            hint="without constraints every reply would be right",
        )
    kwargs = _field(task, metadata, "kwargs", None)
    if kwargs is None:
        kwargs = [None] * len(names)
    if not isinstance(kwargs, list) or len(kwargs) != len(names):
        raise BadRow(f"`kwargs` must be a list of {len(names)}, one for each id", field=f"{where}kwargs")
    prompt = str(_field(task, metadata, "prompt", None) or "")
    pairs = enumerate(zip(names, kwargs, strict=True))
    instructions = [_instruction(name, given, prompt, where, number) for number, (name, given) in pairs]
    benchmark = _of_benchmark(task, names)
    return Row(instructions, _mode(task, metadata, benchmark, where), benchmark, _loose(task, metadata, where))


def _of_benchmark(task: Task, names: list[str]) -> bool:
    agent = task.get("agent_ref")
    agent_name = agent.get("name") if isinstance(agent, dict) else ""
    return BENCHMARK in str(agent_name) or any(REGISTRY[name].benchmark for name in names)


def _mode(task: Task, metadata: dict[str, Any], benchmark: bool, where: str) -> str:
    mode = _field(task, metadata, "grading_mode", None) or ("fraction" if benchmark else "binary")
    if mode not in MODES:
        raise BadRow(f"`grading_mode` is one of {', '.join(MODES)}, not {mode!r}", field=f"{where}grading_mode")
    return str(mode)


def _loose(task: Task, metadata: dict[str, Any], where: str) -> bool:
    loose = _field(task, metadata, "loose", None)
    if loose not in (None, True, False):
        raise BadRow(f"`loose` is true or false, not {loose!r}", field=f"{where}loose")
    return bool(loose)


def _field(task: Task, metadata: dict[str, Any], name: str, default: Any) -> Any:
    return metadata[name] if name in metadata else task.get(name, default)


def _instruction(name: Any, given: Any, prompt: str, where: str, number: int) -> Instruction:
    if not isinstance(name, str) or name not in REGISTRY:
        raise BadRow(f"no verifier {name!r}", field=f"{where}instruction_id_list[{number}]", hint=_nearest(str(name)))
    if given is not None and not isinstance(given, dict):
        raise BadRow("kwargs of an instruction must be an object or null", field=f"{where}kwargs[{number}]")
    present = {key: value for key, value in (given or {}).items() if value is not None}
    try:
        return name, REGISTRY[name].settle(_kwargs(name, present, f"{where}kwargs[{number}]"), prompt)
    except ValueError as error:
        raise BadRow(f"{name} can never be kept: {error}", field=f"{where}kwargs[{number}]") from None


def _nearest(name: str) -> str:
    near = nearest(name, REGISTRY, cutoff=0.4)
    return f"nearest: {', '.join(near)}" if near else f"{len(REGISTRY)} ids are known, such as keywords:existence"


def _kwargs(name: str, present: Kwargs, where: str) -> Kwargs:
    wanted = REGISTRY[name].arguments
    for key in present:
        if key not in wanted:
            known = ", ".join(wanted) or "none"
            raise BadRow(f"{name} takes no {key!r}", field=f"{where}.{key}", hint=f"its kwargs: {known}")
    read = {}
    for key, kind in wanted.items():
        if key not in present:
            raise BadRow(
                f"{name} needs {key!r}",
                field=f"{where}.{key}",
                hint="without it the public checker draws one at random",
            )
        try:
            read[key] = kind(present[key])
        except ValueError as error:
            raise BadRow(f"{key!r} of {name} must be {error}, not {present[key]!r}", field=f"{where}.{key}") from None
    return read
