"""Times as the public verifier reads them, and as they must be written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.calendar.times import clock, lenient_minutes, spoken, strict_minutes


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("10am", 600),
        ("12am", 0),
        ("12pm", 720),
        ("12:30am", 30),
        ("2:15pm", 855),
        ("09:90", 630),
        (" 10:00 ", 600),
        ("10 am", 600),
        ("11:-15", 645),
    ],
)
def test_the_lenient_reader(text, minutes):
    assert lenient_minutes(text) == minutes


@pytest.mark.parametrize("text", ["10:00 AM", "10", "", "1ampm", "10:00:00", "x"])
def test_what_the_lenient_reader_cannot_read(text):
    with pytest.raises(ValueError):
        lenient_minutes(text)


@pytest.mark.parametrize("text", ["9:00", "10:60", "24:00", "10:00 ", "10:00\n", "١٠:٠٠", "10am", None, 600, ["10:00"]])
def test_what_the_strict_reader_refuses(text):
    assert strict_minutes(text) is None


@given(st.integers(0, 24 * 60 - 1))
def test_written_times_are_read_back(minutes):
    assert strict_minutes(clock(minutes)) == minutes == lenient_minutes(clock(minutes))
    assert lenient_minutes(spoken(minutes)) == minutes == lenient_minutes(spoken(minutes, " "))
