"""Environments that ask a judge: heard through a recording, so that the gate needs no model."""

from __future__ import annotations

from gym_core.check.rule import Failed, Skipped, rule
from gym_core.check.rules.cases import misjudged, read_cases
from gym_core.check.subject import Subject, client_of
from gym_core.check.wire import Wire

RECORDING = "judgements.jsonl"


@rule(
    "judge",
    "with its recorded judge every case earns what it states, twice",
    fix=f"record the judge over your cases into {RECORDING} beside the manifest ([judge] `recorded`, `record`)",
)
async def judge(subject: Subject) -> str:
    if not {"judge", "judge_group"} & set(subject.seen.has):
        raise Skipped("it asks no judge")
    recording = subject.folder / RECORDING
    if subject.bare or not recording.is_file():
        if subject.seen.needs_judge:
            raise Failed(f"it needs a judge, and there is no {RECORDING}")
        raise Skipped(f"its judge is optional, and there is no {RECORDING}")
    found = [case for case in read_cases(subject.folder) if case.judged or subject.seen.needs_judge]
    if not found:
        raise Failed("no case says `judged`", 'add cases with `"judged": true` that only a judge can decide')
    service = await subject.den.serve(
        str(subject.place), subject.manifest.name, subject.options.startup_s, recorded=str(recording)
    )
    try:
        async with client_of(service, subject.options, subject.seen) as client:
            wire = Wire(client, keeps_sessions=subject.wire.keeps_sessions, judges_groups=subject.wire.judges_groups)
            wrong = await misjudged(wire, found) or await misjudged(wire, found)
    finally:
        await service.stop()
    if wrong:
        raise Failed("; ".join(wrong[:4]))
    return f"{len(found)} cases"
