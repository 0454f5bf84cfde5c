"""Calendar: events and wishes come up over a dialogue; the reply states the calendar that honours all of them."""

from __future__ import annotations

import json
import random
from typing import Any, ClassVar

from environments.calendar.expected import Wanted
from environments.calendar.times import clock
from gym_core.environment import Environment, Reply, Session, Task, Verdict


class Calendar(Environment):
    """State the calendar as a JSON list; 1.0 when it holds exactly the wanted events where they may be, else 0.0."""

    name = "calendar"
    version = "1.0.0"
    levels: ClassVar[range] = range(6)
    max_steps = 1
    worker = True

    def warm(self) -> None:
        import environments.calendar.generator  # noqa: F401

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        from environments.calendar.generator import make

        return make(rng, level)

    def ingest(self, task: Task) -> Task:
        from environments.calendar.rows import ingest

        return ingest(task)

    def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:
        from environments.calendar.grading import grade_strict
        from environments.calendar.rows import wanted

        reward, reason = grade_strict(wanted(task), reply.text)
        return Verdict(reward=reward, details={"reason": reason})

    def verify_published(self, task: Task, session: Session, reply: Reply) -> Verdict:
        from environments.calendar.published import grade_published, seen_text

        reward, reason = grade_published(task["exp_cal_state"], seen_text(reply.items))
        return Verdict(reward=reward, details={"reason": reason})

    def oracle(self, task: Task) -> str:
        """A calendar from the solver; events without a known name are called by their id."""
        from environments.calendar.rows import wanted
        from environments.calendar.solver import schedule

        events = wanted(task)
        starts = schedule(events)
        assert starts is not None, "rows and generator let no impossible calendar through"
        return stated(events, starts)


def stated(events: list[Wanted], starts: dict[int, int]) -> str:
    """The calendar as a reply: events by id."""
    return json.dumps(
        [
            {
                "event_id": event.event_id,
                "event_name": event.name or f"event {event.event_id}",
                "start_time": clock(starts[event.event_id]),
                "duration": event.duration,
            }
            for event in sorted(events, key=lambda event: event.event_id)
        ]
    )
