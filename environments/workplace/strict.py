"""Our verdict: what the session changed is what was to change, and what was asked for is said.

    1.0   the changes are the wanted ones, nothing else changed, and the whole reply is the wanted answer, if any
    0.0   otherwise, and where nothing at all was wanted and nobody looked anything up

The live session is judged, not a replay: a call that failed, that named no tool or that was left unfinished costs
nothing and helps nothing. Damage that was undone is counted, and paid; mail cannot be unsent.
"""

from __future__ import annotations

from contextlib import closing
from functools import lru_cache

from environments.workplace.changes import Changes, changes_of
from environments.workplace.desk import Desk, World
from environments.workplace.replay import Calls, replayed
from gym_core.contracts import Verdict
from gym_core.reply import Reply

MAX_ANSWER = 500


@lru_cache(maxsize=512)
def right_changes(world: World, truth: Calls) -> Changes:
    """What these calls change; the same for every rollout of a task, and nobody's to alter."""
    with closing(replayed(world, truth, fixed_keys=True)) as desk:
        return changes_of(desk)


def judge(live: Desk, should: Changes, answer: str | None, reply: Reply) -> Verdict:
    """The strict verdict. `should` is what the right calls change."""
    did = changes_of(live)
    state = did.same(should)
    said = answer is None or plain(reply.text) == plain(answer)
    worked = not should.empty or answer is not None or (live.lookups > 0 and not reply.empty)
    missing = len(({*should.deleted, *should.updated}) - ({*did.deleted, *did.updated}))
    missing += (should.created - did.created).total()
    return Verdict(
        reward=float(state and said and worked),
        components={
            "state": float(state),
            "answer": float(said),
            "collateral": float(did.beyond(should)),
            "missing": float(missing),
            "undone": float(did.detours(should)),
            "unsent": float(did.unsent),
            "writes": float(live.writes),
        },
        details={"looked_up": live.lookups, "answer_wanted": answer is not None},
    )


def plain(text: str) -> str:
    """A reply as it is compared: one line of words in lower case, without a full stop or quotes around it."""
    if len(text) > MAX_ANSWER:
        return "\0too long"
    return " ".join(text.split()).strip(".\"'` *").casefold()
