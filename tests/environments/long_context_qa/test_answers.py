"""Reading answers: what is right in which form, what is wrong, what only a judge may decide."""

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.long_context_qa import answers
from environments.long_context_qa.answers import OPEN, RIGHT, UNITS, WRONG, judged
from environments.long_context_qa.facts import long_date
from environments.long_context_qa.grading import final_answer, grade

EUR = answers.number(412_000, "EUR")
AREA = answers.number(41, "m²")
DAY = answers.day(date(2031, 3, 14))
FALCON = answers.name("Project Amber Falcon", ["Project Amber Falcon II", "Project Amber Heron"])
SET = answers.several(["Project Amber Falcon", "Project Pale Dock"], ["Project Amber Falcon II", "Project Late Mill"])
LIST = answers.several(["Project Pale Dock", "Project Amber Falcon"], ["Project Late Mill"], ordered=True)


@pytest.mark.parametrize(
    ("answer", "said", "result"),
    [
        (EUR, "412000", RIGHT),
        (EUR, "412,000 EUR", RIGHT),
        (EUR, "EUR 412 000.00", RIGHT),
        (EUR, "412\u00a0000 €", RIGHT),
        (EUR, "412'000 euros", RIGHT),
        (EUR, "**412,000 EUR**.", RIGHT),
        (EUR, "412 thousand EUR", RIGHT),
        (EUR, "0.412 million euros", RIGHT),
        (EUR, r"\boxed{412,000}", RIGHT),
        (EUR, "412000.01", WRONG),
        (EUR, "-412000", WRONG),
        (EUR, "412", WRONG),
        (EUR, "412.000 EUR", WRONG),
        (EUR, "412,00 EUR", WRONG),
        (EUR, "412000 kg", WRONG),
        (EUR, "412000 or 413000", WRONG),
        (EUR, "411000 412000 413000", WRONG),
        (EUR, "412000, 5", WRONG),
        (EUR, "not below 412,000 EUR", OPEN),
        (EUR, "the sum is 412,000 EUR", OPEN),
        (EUR, "the sum is 412,001 EUR", WRONG),
        (EUR, "4.12e5", WRONG),
        (EUR, "NaN", WRONG),
        (EUR, "inf", WRONG),
        (AREA, "41 m²", RIGHT),
        (AREA, "41 m2", RIGHT),
        (AREA, "41 square metres", RIGHT),
        (AREA, "41 m", WRONG),
        (AREA, "41 million", WRONG),
        (DAY, "2031-03-14", RIGHT),
        (DAY, "14 March 2031", RIGHT),
        (DAY, "March 14, 2031", RIGHT),
        (DAY, "14th of March 2031", RIGHT),
        (DAY, "14 Mar. 2031", RIGHT),
        (DAY, "on 14 March 2031", OPEN),
        (DAY, "2031-14-03", WRONG),
        (DAY, "2031-03-15", WRONG),
        (DAY, "14 March", WRONG),
        (DAY, "2031-03-14 or 2031-03-15", WRONG),
        (DAY, "day 3 of week 11, 14 March 2031", WRONG),
        (DAY, "99 March 2031", WRONG),
        (FALCON, "Project Amber Falcon", RIGHT),
        (FALCON, "amber falcon", RIGHT),
        (FALCON, '"Project Amber Falcon".', RIGHT),
        (FALCON, "Project  Amber\nFalcon", RIGHT),
        (FALCON, "Amber Falcon II", WRONG),
        (FALCON, "It is Amber Falcon II, not Amber Falcon", WRONG),
        (FALCON, "Falcon", WRONG),
        (FALCON, "Amber Falcon or Amber Heron", WRONG),
        (FALCON, "It is Amber Falcon, of course", OPEN),
        (FALCON, "Amber Falcon, Amber Falcon", WRONG),
        (SET, "Amber Falcon; Pale Dock", RIGHT),
        (SET, "Project Pale Dock, Project Amber Falcon", RIGHT),
        (SET, "Pale Dock and Amber Falcon.", RIGHT),
        (SET, "[Pale Dock, Amber Falcon]", RIGHT),
        (SET, "- Pale Dock\n- Amber Falcon", RIGHT),
        (SET, "Pale Dock", WRONG),
        (SET, "Pale Dock; Amber Falcon; Late Mill", WRONG),
        (SET, "Pale Dock; Amber Falcon; Pale Dock", WRONG),
        (SET, "Pale Dock; Amber Falcon II", WRONG),
        (SET, "both Pale Dock as well as Amber Falcon", OPEN),
        (LIST, "Pale Dock; Amber Falcon", RIGHT),
        (LIST, "1. Pale Dock\n2. Amber Falcon", RIGHT),
        (LIST, "Amber Falcon; Pale Dock", WRONG),
        (LIST, "first Pale Dock, then Amber Falcon", OPEN),
        (LIST, "first Amber Falcon, then Pale Dock", WRONG),
    ],
)
def test_one_answer_is_right_wrong_or_a_matter_of_phrasing(answer, said, result):
    assert judged(answer, said)[0] == result


@pytest.mark.parametrize(
    "filling", [" ", "\t", "a ", "1 ", "1,", "{", "}", "; ", "and ", "14 March ", "- ", "*", "Answer:"]
)
def test_reading_is_linear_in_the_text(filling):
    """Quadratic reading of 300,000 characters would take hours."""
    for answer in (EUR, DAY, FALCON, SET, LIST):
        said = f"Answer: x{filling * (300_000 // len(filling))}y"
        assert grade(answer, said).reward == 0.0


def test_long_phrasing_is_no_phrasing():
    assert judged(EUR, "the sum is 412,000 EUR " + "indeed " * 200)[0] == WRONG


@given(st.integers(0, 10**12), st.sampled_from(sorted(UNITS)))
@settings(max_examples=200, deadline=None)
def test_every_number_is_right_as_written_and_its_neighbour_wrong(value, unit):
    answer = answers.number(value, unit)
    for said in (f"{value}", f"{value:,}", f"{value:,} {unit}", answers.written(answer)):
        assert judged(answer, said)[0] == RIGHT
    assert judged(answer, f"{value + 1} {unit}")[0] == WRONG


@given(st.integers(0, 20_000))
@settings(max_examples=100, deadline=None)
def test_every_day_is_right_in_words_and_digits(days):
    day = date(2000, 1, 1) + timedelta(days=days)
    for said in (day.isoformat(), long_date(day), day.strftime("%B %d, %Y")):
        assert judged(answers.day(day), said)[0] == RIGHT
    assert judged(answers.day(day), (day + timedelta(days=1)).isoformat())[0] == WRONG


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_without_an_exception(text):
    for answer in (EUR, AREA, DAY, FALCON, SET, LIST):
        assert judged(answer, text)[0] in (RIGHT, WRONG, OPEN)
        assert grade(answer, text).reward in (0.0, 1.0)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=30, unique=True))
@settings(max_examples=100, deadline=None)
def test_no_list_of_numbers_holds_the_answer(numbers):
    answer = answers.number(numbers[0], "EUR")
    for separator in (" ", "; ", "\n", " or ", "/", "|"):
        assert grade(answer, "Answer: " + separator.join(map(str, numbers))).reward == 0.0


# What a reply commits to -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("41", "41"),
        ("Answer: 41", "41"),
        ("reasons 1 2 3\n\nAnswer: 41\n", "41"),
        ("**Final Answer:** 41", "41"),
        ("> The answer: 41", "41"),
        ("Answer: 41\nAnswer: 41", "41"),
        ("Answer:\n1. a\n2. b", "1. a\n2. b"),
    ],
)
def test_the_answer_line_is_what_counts(text, said):
    assert final_answer(text) == (said, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Answer: 41\nAnswer: 42", "several answers"),
        ("Answer: 41\nor so", "words after the answer"),
        ("Answer:", "an empty answer"),
        ("Answer: **", "an empty answer"),
        ("41\n42", "no line that begins with `Answer:`"),
    ],
)
def test_no_answer_is_read_from_any_other_form(text, reason):
    assert final_answer(text)[1] == reason
    assert grade(answers.number(41), text).reward == 0.0


def test_the_right_words_in_another_form_are_open_to_a_judge():
    assert grade(EUR, "I added them up.\nThe sum is 412,000 EUR.").open == "The sum is 412,000 EUR."
    assert grade(EUR, "I added them up.\n412,000 EUR").open == "412,000 EUR"
    assert grade(EUR, "Answer: 412,000 EUR").open == ""
    assert grade(EUR, "I added 5 and 7.\nThe sum is 412,001 EUR.").open == ""
