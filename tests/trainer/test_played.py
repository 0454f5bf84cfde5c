import msgspec
import pytest

from gym_core.contracts import Outcome, Rollout, TraceInfo
from gym_core.tokens import encode_segment
from trainer.played import open_frame


def head(**changes) -> bytes:
    rollout = Rollout(rollout_id="r", environment="maths", task_id="a", outcome=Outcome.SCORED)
    return msgspec.json.encode(msgspec.structs.replace(rollout, **changes))


def test_a_rollout_without_traces_is_whole() -> None:
    played = open_frame(head(), b"")
    assert (played.rollout.rollout_id, played.traces, played.recalled) == ("r", [], False)


def test_a_trace_whose_bytes_are_cut_is_refused(trace) -> None:
    blob = encode_segment(trace())
    info = TraceInfo(offset=0, num_bytes=len(blob), num_tokens=5, num_trainable=2)
    assert open_frame(head(traces=[info]), blob).traces[0].token_ids.tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="bytes"):
        open_frame(head(traces=[info]), blob[:-4])


def test_a_head_that_is_no_rollout_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        open_frame(b'{"rollout_id": 3}', b"")
