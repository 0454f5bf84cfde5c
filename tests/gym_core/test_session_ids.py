"""Session ids: ours or not, and whose; altered by one bit they are nobody's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.session_ids import SessionIds

IDS = SessionIds(b"secret", "counter", "w1")


def test_every_process_of_the_secret_knows_whose_an_id_is() -> None:
    session_id = IDS.make()
    assert session_id.startswith("w1.") and session_id.count(".") == 2
    assert SessionIds(b"secret", "counter", "w2").worker_of(session_id) == "w1"


@pytest.mark.parametrize(
    "stranger",
    [SessionIds(b"other", "counter", "w1"), SessionIds(b"secret", "another environment", "w1")],
    ids=["secret", "environment"],
)
def test_an_id_of_another_secret_or_environment_is_nobodys(stranger: SessionIds) -> None:
    assert IDS.worker_of(stranger.make()) is None


@given(st.data())
def test_an_altered_id_is_nobodys(data: st.DataObject) -> None:
    session_id = IDS.make()
    place = data.draw(st.integers(0, len(session_id) - 1))
    letter = data.draw(st.characters(codec="ascii", categories=["Lu", "Ll", "Nd"], include_characters="._-"))
    altered = session_id[:place] + letter + session_id[place + 1 :]
    # the last character of a base64 text carries two bits that mean nothing
    if altered[:-1] != session_id[:-1]:
        assert IDS.worker_of(altered) is None


@given(st.text(max_size=400))
def test_no_made_up_text_is_an_id(text: str) -> None:
    assert IDS.worker_of(text) is None


def test_a_moved_signature_is_no_signature() -> None:
    first, second = IDS.make(), SessionIds(b"secret", "counter", "w2").make()
    assert IDS.worker_of(first.rpartition(".")[0] + "." + second.rpartition(".")[2]) is None


@pytest.mark.parametrize("worker", ["", "a.b"])
def test_a_worker_name_that_would_break_the_id_is_refused(worker: str) -> None:
    with pytest.raises(ValueError, match="has no dot"):
        SessionIds(b"secret", "counter", worker)
