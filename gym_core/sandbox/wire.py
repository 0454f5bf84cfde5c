"""A job and its run as frames, between the remote provider and the sandbox service.

job   head {kind, argv, limits, num_content}         blob: the program's content, then its input
run   head {ended, status, cpu_s, wall_s, memory_mb, num_stdout}   blob: stdout, then the end of stderr
"""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from gym_core.errors import BadRequest, misfit
from gym_core.sandbox.run import Ended, Kind, Limits, Program, Run
from gym_core.tokens import pack_frame, unpack_frame


class _Job(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    kind: Kind
    argv: tuple[str, ...]
    limits: dict[str, Any]
    num_content: int


class _Run(msgspec.Struct, kw_only=True):
    ended: Ended
    status: int
    cpu_s: float
    wall_s: float
    memory_mb: float
    num_stdout: int


def pack_job(program: Program, stdin: bytes, limits: Limits) -> bytes:
    job = _Job(
        kind=program.kind,
        argv=program.argv,
        limits=dataclasses.asdict(limits),
        num_content=len(program.content),
    )
    return pack_frame(msgspec.json.encode(job), program.content + stdin)


def unpack_job(data: bytes) -> tuple[Program, bytes, Limits]:
    """Raises `BadRequest` for anything that is no job."""
    try:
        head, blob = unpack_frame(data)
        job = msgspec.json.decode(head, type=_Job)
        limits = msgspec.convert(job.limits, type=Limits)
    except msgspec.ValidationError as error:
        what, field = misfit(error)
        raise BadRequest(what, field=field.lstrip(".")) from None
    except (msgspec.DecodeError, ValueError) as error:
        raise BadRequest(f"that is no job: {error}") from None
    if not 0 <= job.num_content <= len(blob):
        raise BadRequest("the job is shorter than it says", field="num_content")
    if not job.argv:
        raise BadRequest("a program has a name at least", field="argv")
    content, stdin = bytes(blob[: job.num_content]), bytes(blob[job.num_content :])
    return Program(job.kind, content, job.argv), stdin, limits


def pack_run(run: Run) -> bytes:
    head = _Run(
        ended=run.ended,
        status=run.status,
        cpu_s=run.cpu_s,
        wall_s=run.wall_s,
        memory_mb=run.memory_mb,
        num_stdout=len(run.stdout),
    )
    return pack_frame(msgspec.json.encode(head), run.stdout + run.stderr)


def unpack_run(data: bytes) -> Run:
    """Raises `ValueError`, also of msgspec's kind, for anything that is no run."""
    head, blob = unpack_frame(data)
    run = msgspec.json.decode(head, type=_Run)
    if not 0 <= run.num_stdout <= len(blob):
        raise ValueError("the run is shorter than it says")
    stdout, stderr = bytes(blob[: run.num_stdout]), bytes(blob[run.num_stdout :])
    return Run(run.ended, stdout, stderr, run.status, run.cpu_s, run.wall_s, run.memory_mb)
