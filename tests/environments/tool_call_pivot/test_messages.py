"""Messages: exact facts where they are known, likeness to the expert's words where only those are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.tool_call_pivot.messages import MAX_WORDS, Facts, check_facts, check_likeness
from environments.tool_call_pivot.tokens import figures, holds, tokens

FACTS = Facts(say=("ORD-1234", "36", "yes"), allow=("2025-03-01",))


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Cancelling ORD-1234 pays back 36 euros; please say yes.", True),
        ("**ORD-1234** (of 2025-03-01): you get $36.00. Yes?", True),
        ("ord-1234, EUR 36, YES", True),
        ("Cancelling ORD-1234 pays back 36 euros.", False),
        ("ORD-1234 and ORD-9999: 36 euros, yes?", False),
        ("ORD-1234: 36 or 37 euros, yes?", False),
        ("ORD-1234: 36 of 48 euros, yes?", False),
        ("ORD-12345: 36 euros, yes?", False),
        ("ORD-1234: 36 euros, yesterday?", False),
        ("1. ORD-1234: 36 euros, yes?", False),
        ("", False),
        ("ORD-1234 36 yes " + "la " * MAX_WORDS, False),
    ],
)
def test_a_message_says_the_facts_and_no_other_figures(text, right):
    assert (check_facts(text, FACTS) == "") is right


def test_a_question_asks_for_what_is_missing_and_for_nothing_else():
    ask = Facts(say=("security code",), never=("customer number",), ask=True)
    assert check_facts("May I have your Security-Code, please?", ask) != ""
    assert check_facts("May I have your Security  code, please?", ask) == ""
    assert check_facts("Tell me your security code.", ask) == "no question"
    assert check_facts("Your security code and customer number?", ask) == "something that does not belong here"


@given(st.lists(st.sampled_from(["ORD-1234", "36", "yes", "2025-03-01"]), max_size=6))
def test_without_every_fact_nothing_is_right(words):
    text = " ".join(words)
    assert (check_facts(text, FACTS) == "") == ({"ORD-1234", "36", "yes"} <= set(words))


EXPERT = "I have verified your account S901. Which event is it, and what is its event ID? It is on your W123 notice."
TOLD = ["My user ID is S901 and my code is W123. I won tickets for an event, here is the notice.", '{"returns": true}']


@pytest.mark.parametrize(
    ("text", "right", "certain"),
    [
        (EXPERT, True, True),
        (f"\n\n{EXPERT} ", True, True),
        ("Your account S901 is verified. What is the event ID on your notice W123? Which event?", True, False),
        ("Hello, how can I help you?", False, False),
        ("Your account S901 has been closed.", False, False),
        (TOLD[0], False, True),
        (TOLD[1], False, True),
        ("", False, True),
        (" \n", False, True),
        (EXPERT + ' <tool_call>{"name": "f"}</tool_call>', False, True),
        (EXPERT.replace("S901", "S777").replace("W123", "W777"), False, False),
        ("event " * 5000, False, True),
    ],
)
def test_likeness(text, right, certain):
    why, sure = check_likeness(text, EXPERT, TOLD)
    assert ((why == ""), sure) == (right, certain), why


def test_tokens_have_one_spelling():
    assert tokens("Pay $1,200.00 (EUR) on 2025-03-01!") == ["pay", "1200", "eur", "on", "2025-03-01"]
    assert figures("007, 7.10 and #7.1; A-17") == {"7": 1, "7.1": 2, "a-17": 1}
    assert holds(tokens("see Rule 3."), "rule 3") and not holds(tokens("see rule 33"), "rule 3")


@given(st.text(max_size=200))
def test_any_text_is_checked(text):
    assert isinstance(check_facts(text, FACTS), str)
    assert isinstance(check_likeness(text, EXPERT, TOLD)[0], str)
