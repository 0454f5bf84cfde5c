"""Expressions of rows: what `re.findall` finds, in bounded time, in any thread."""

import re
import signal
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.stem_qa.bounded import MAX_PATTERN, MAX_TEXT, Slow, matches

PATTERNS = (
    r"Answer:\s*([A-Z])",
    r"a+",
    r"(a)|(b)",
    r"(?:x)(y)?",
    r"\b\w\b",
    r"",
    r"(a*)",
    r"Answer\s*:\s*(?!Answer)\s*([A-Za-z])\s*",
)
HOSTILE = (r"(a+)+$", r"(a|aa)+$", r"(.*a){12}$", r"(?:a?){40}a{40}$", r"\s*\s*\s*\s*\s*x")


def in_a_thread(work):
    results = []

    def run():
        try:
            results.append(work())
        except (Slow, re.error) as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return results[0]


@given(st.sampled_from(PATTERNS), st.text(alphabet="aAbByx: nswerAnswer\n", max_size=30))
@settings(max_examples=150, deadline=None)
def test_matches_are_those_of_findall(pattern, text):
    wanted = re.findall(pattern, text, re.IGNORECASE)
    assert [found.value for found in matches(pattern, text)] == wanted
    assert [found.value for found in in_a_thread(lambda: matches(pattern, text))] == wanted


def test_where_the_captured_part_is():
    (found,) = matches(r"is\s*(\w)", "It is B.")
    assert found.span == (6, 7)
    (found,) = matches(r"\w$", "It is B")
    assert found.span == (6, 7)


@pytest.mark.parametrize("pattern", HOSTILE)
def test_hostile_expressions_are_stopped(pattern):
    text = "a" * 40 + "!" if "a" in pattern else " " * 3000 + "!"
    began = time.monotonic()
    with pytest.raises(Slow, match="not decided"):
        matches(pattern, text * 1, 0.05)
    assert time.monotonic() - began < 20.0


def test_hostile_expressions_are_stopped_in_other_threads_too():
    outcome = in_a_thread(lambda: matches(r"(a+)+$", "a" * 60 + "!", 0.05))
    assert outcome == [] or isinstance(outcome, Slow)  # the other matcher may find the answer at once


def test_a_timer_that_was_running_goes_on():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    signal.setitimer(signal.ITIMER_REAL, 60.0)
    try:
        matches("a", "a")
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        assert 50.0 < left <= 60.0
        assert signal.getsignal(signal.SIGALRM)(0, None) is None and rung == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("pattern", ["([", "(" * 1500, "a" * (MAX_PATTERN + 1), "*", "(?P<x>a)(?P<x>b)"])
def test_what_is_no_expression(pattern):
    with pytest.raises(re.error):
        matches(pattern, "a")
    assert isinstance(in_a_thread(lambda: matches(pattern, "a")), re.error)


def test_endless_texts_are_not_searched():
    with pytest.raises(Slow, match="characters"):
        matches("a", "a" * (MAX_TEXT + 1))
