"""The quality gate: every rule asked of one environment, which runs as a service of its own the whole time.

    report = await check(registry.manifest(name), registry.place(name), QUICK)
    report.failures()

probe (hash seed 1) ─▶ service (hash seed 77) ─▶ rules in order ─▶ report. Nothing of the environment is imported here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from gym_core.check.children import ChildFault
from gym_core.check.report import Figures, Report, RuleResult, Status
from gym_core.check.rule import RULES, Failed, Rule, Skipped
from gym_core.check.rules import cases, grader, groups, judged, leaks, living, making, paper, rewards, surroundings
from gym_core.check.subject import NEEDS_JUDGE, QUICK, CheckOptions, Subject, opened
from gym_core.errors import JudgeFault, PalaestraError, Unavailable
from gym_core.manifest import FILE_NAME, Manifest
from gym_core.registry import Registry

__all__ = ["QUICK", "CheckOptions", "Report", "RuleResult", "check", "check_path", "refused", "rule_ids"]

MODULES = (paper, making, rewards, grader, leaks, living, groups, cases, judged, surroundings)
ORDERED = [rule for module in MODULES for rule in RULES if rule.ask.__module__ == module.__name__]
LOADS = "loads"
_FIX_LOADS = "mend what the file and line name; heavy work at import belongs into `warm()`"
_ABOUT_LOADS = "the environment can be imported, makes its tasks in time, and its service starts"


def rule_ids() -> list[str]:
    """The ids of all rules, in the order of the report."""
    return [LOADS, *(rule.id for rule in ORDERED)]


async def check(
    manifest: Manifest, place: Path, options: CheckOptions | None = None, only: Collection[str] = ()
) -> Report:
    """The report on the environment with this manifest, which lies at `place` (its manifest.toml or its file).

    `only` names the rules to ask, all where it is empty.
    """
    rules = [rule for rule in ORDERED if not only or rule.id in only]
    options = options or CheckOptions()
    began = time.perf_counter()
    version, figures, floors = manifest.version, Figures(), {}
    try:
        async with opened(manifest, place, options, _rows(place)) as subject:
            results = [_loaded(time.perf_counter() - began), *[await _ask(rule, subject) for rule in rules]]
            version, figures = subject.seen.version, subject.figures
            if manifest.floor is not None:
                floors["floor"] = manifest.floor
            floors |= manifest.floors
    except ChildFault as fault:
        results = [_unloaded(str(fault), time.perf_counter() - began), *[_unasked(rule, fault) for rule in rules]]
    status: Status = "fail" if any(result.status == "fail" for result in results) else "pass"
    return Report(
        name=manifest.name,
        version=version,
        status=status,
        quick=options.quick,
        floors=floors,
        rules=results,
        figures=figures,
        seconds=time.perf_counter() - began,
    )


def check_path(path: Path, options: CheckOptions | None = None) -> Report:
    """The report on the one environment at this path, for a test of its own. Raises `BadRequest` where none lies."""
    registry = Registry.at(path)
    (name,) = registry.names()
    return asyncio.run(check(registry.manifest(name), registry.place(name), options))


def refused(name: str, rule: str, found: str) -> Report:
    """The report on what could not even be found whole: its manifest cannot be read, or its file not imported."""
    results = []
    for id, about in ((LOADS, _ABOUT_LOADS), *((known.id, known.about) for known in ORDERED)):
        status: Status = "fail" if id == rule else "skip"
        said = found if id == rule else "the environment does not load"
        results.append(RuleResult(id=id, about=about, status=status, found=said, fix=_FIX_LOADS if id == rule else ""))
    return Report(name=name, version="", status="fail", quick=False, rules=results, figures=Figures(), seconds=0.0)


async def _ask(rule: Rule, subject: Subject) -> RuleResult:
    """The boundary around a rule: what it raises is its result."""
    began = time.perf_counter()
    status: Status = "pass"
    found = fix = ""
    try:
        found = await rule.ask(subject)
    except Skipped as skipped:
        status, found = "skip", str(skipped)
    except Failed as failed:
        status, found, fix = "fail", failed.found, failed.fix or rule.fix
    except PalaestraError as error:
        status, found, fix = "fail", str(error.info()), rule.fix
        if isinstance(error, JudgeFault) and subject.seen.needs_judge:
            status, found, fix = "skip", NEEDS_JUDGE, ""
        if isinstance(error, Unavailable) and subject.seen.unavailable:
            status, found, fix = "skip", subject.seen.unavailable, ""
    except ChildFault as fault:
        status, found, fix = "fail", str(fault), rule.fix
    seen, *notes = found.split("; note: ") if status == "pass" else [found]
    return RuleResult(
        id=rule.id, about=rule.about, status=status, found=seen, fix=fix, notes=notes,
        seconds=time.perf_counter() - began,
    )  # fmt: skip


def _loaded(seconds: float) -> RuleResult:
    return RuleResult(id=LOADS, about=_ABOUT_LOADS, status="pass", found=f"in {seconds:.2f} s", seconds=seconds)


def _unloaded(found: str, seconds: float) -> RuleResult:
    return RuleResult(id=LOADS, about=_ABOUT_LOADS, status="fail", found=found, fix=_FIX_LOADS, seconds=seconds)


def _unasked(rule: Rule, fault: ChildFault) -> RuleResult:
    seen = surroundings.told(fault.sights, "network")
    if rule.id == "network" and seen:
        found = f"{surroundings.UNDECLARED} {seen}"
        return RuleResult(id=rule.id, about=rule.about, status="fail", found=found, fix=rule.fix)
    return RuleResult(id=rule.id, about=rule.about, status="skip", found="the environment does not load")


def _rows(place: Path) -> list[dict[str, Any]]:
    """Rows from outside that the author's cases bring, each once; they stand for tasks where none are generated."""
    if place.name != FILE_NAME or not (place.parent / cases.FILE_NAME).is_file():
        return []
    try:
        found = [case.row for case in cases.read_cases(place.parent) if case.row is not None]
    except Failed:
        return []  # the rule `cases` says what is wrong
    return [row for number, row in enumerate(found) if row not in found[:number]]
