"""What is remembered never takes more than was allowed, and what was used last is what stays."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from policy_server.remembered import ENTRY_BYTES, Remembered

ONE = 100 + ENTRY_BYTES


def test_the_one_not_used_for_longest_goes_first() -> None:
    kept = Remembered[str, int](3 * ONE)
    for number, name in enumerate("abc"):
        kept.keep(name, number, 100)
    assert kept.find("a") == 0
    kept.keep("d", 3, 100)
    assert [kept.find(name) for name in "abcd"] == [0, None, 2, 3]
    assert (len(kept), kept.num_bytes) == (3, 3 * ONE)


def test_a_large_one_takes_the_room_of_many_and_too_large_a_one_takes_none() -> None:
    kept = Remembered[str, int](3 * ONE)
    for number, name in enumerate("abc"):
        kept.keep(name, number, 100)
    kept.keep("whale", 9, 3 * ONE)  # with its entry more than everything
    assert kept.find("whale") is None
    assert len(kept) == 3
    kept.keep("large", 8, 2 * ONE - ENTRY_BYTES)
    assert [kept.find(name) for name in ("a", "b", "c", "large")] == [None, None, 2, 8]


def test_a_thing_kept_again_is_counted_once() -> None:
    kept = Remembered[str, int](3 * ONE)
    kept.keep("a", 1, 100)
    kept.keep("a", 2, 200)
    assert (kept.find("a"), len(kept), kept.num_bytes) == (2, 1, 200 + ENTRY_BYTES)
    kept.keep("a", 3, 4 * ONE)  # what is out of date is not told either
    assert (kept.find("a"), kept.num_bytes) == (None, 0)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2000)), max_size=60), st.integers(0, 5000), st.integers(1, 6)
)
def test_no_bound_is_ever_passed(kept: list[tuple[int, int]], most_bytes: int, most: int) -> None:
    remembered = Remembered[int, int](most_bytes, most)
    held: dict[int, int] = {}
    for key, num_bytes in kept:
        remembered.keep(key, num_bytes, num_bytes)
        held = {each: size for each in range(10) if (size := remembered.find(each)) is not None}
        assert remembered.num_bytes == sum(held.values()) + ENTRY_BYTES * len(held) <= most_bytes
        assert len(remembered) == len(held) <= most


def test_an_entry_takes_no_more_than_it_is_charged_for() -> None:
    kept = Remembered[str, np.ndarray](1 << 30)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(5000):
            key, value = f"a text of its own, number {number}", np.arange(number, number + 30, dtype=np.int32)
            kept.keep(key, value, key.__sizeof__() + value.__sizeof__())
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept.num_bytes / 2 < taken < kept.num_bytes
