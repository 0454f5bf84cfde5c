"""The solver against a search that tries every order of the events."""

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.calendar.expected import Constraint, Wanted, overlap, read_constraint
from environments.calendar.solver import MAX_EVENTS, schedule

MOMENTS = st.integers(600, 960)
CONSTRAINTS = st.one_of(
    st.just(Constraint()),
    st.builds(Constraint, st.sampled_from(("before", "after", "at")), MOMENTS),
    st.builds(Constraint, st.just("between"), MOMENTS, MOMENTS),
)
EVENTS = st.lists(st.tuples(st.integers(15, 120), CONSTRAINTS), min_size=0, max_size=5)


def events_of(drawn):
    return [Wanted.of(number, duration, constraint) for number, (duration, constraint) in enumerate(drawn)]


def any_order_fits(events):
    for order in permutations(events):
        end = 0
        for event in order:
            start = max(end, event.earliest)
            if start > event.latest:
                break
            end = start + event.duration
        else:
            return True
    return False


@given(EVENTS)
@settings(max_examples=200, deadline=None)
def test_it_finds_a_calendar_exactly_where_there_is_one(drawn):
    events = events_of(drawn)
    starts = schedule(events)
    assert (starts is not None) == any_order_fits(events)
    if starts is not None:
        assert all(event.admits(starts[event.event_id]) for event in events)
        assert not overlap((starts[event.event_id], event.duration) for event in events)


def test_a_day_by_hand():
    """B must end by 11:00, A may not start before 10:30 and takes 60: B 10:00-11:00, A 11:00-12:00."""
    events = [Wanted.of(0, 60, Constraint("after", 630)), Wanted.of(1, 60, Constraint("before", 660))]
    assert schedule(events) == {0: 660, 1: 600}


def test_too_many_events_are_refused():
    with pytest.raises(ValueError, match="at most"):
        schedule([Wanted.of(number, 5, Constraint()) for number in range(MAX_EVENTS + 1)])


@pytest.mark.parametrize(
    ("text", "window"),
    [
        (None, (600, 900)),
        ("before 1:45pm", (600, 765)),
        ("after 2pm", (840, 900)),
        ("between 10:15am and 11:45am", (615, 645)),
        ("at 12pm", (720, 720)),
    ],
)
def test_windows_of_an_hour(text, window):
    event = Wanted.of(0, 60, read_constraint(text))
    assert (event.earliest, event.latest) == window


@pytest.mark.parametrize("text", ["whenever", "before", "between 10am", "between 1pm and 2pm and 3pm", "at noon"])
def test_constraints_that_say_nothing(text):
    with pytest.raises(ValueError):
        read_constraint(text)
