"""Replies kept for who lost them: the same request gets the same bytes, within a bound."""

from __future__ import annotations

from gym_core.told import MAX_REPLY_BYTES, Told


def test_the_same_request_gets_the_same_bytes_and_no_other_does() -> None:
    told = Told()
    assert told.remember(("s1", "k1"), b"verdict")
    assert told.find(("s1", "k1")) == b"verdict"
    assert [told.find(other) for other in (("s1", "k2"), ("s2", "k1"), ("s1", ""))] == [None] * 3


def test_what_was_told_first_stands() -> None:
    told = Told()
    assert told.remember(("s1", "k1"), b"first") and told.remember(("s1", "k1"), b"second")
    assert (told.find(("s1", "k1")), len(told)) == (b"first", 1)


def test_the_oldest_go_first() -> None:
    told = Told(max_bytes=5000)
    for number in range(100):
        assert told.remember((f"s{number:02d}", "k"), b"x" * 100)  # 3 + 1 + 100 + 400 bytes each
    assert len(told) == 9
    assert told.find(("s91", "k")) and not told.find(("s90", "k"))


def test_what_is_too_long_is_not_kept() -> None:
    told = Told()
    assert not told.remember(("s1", "k1"), b"x" * (MAX_REPLY_BYTES + 1))
    assert (told.find(("s1", "k1")), len(told)) == (None, 0)
