"""What a message of the agent asks for: slots, a yes, or the end; statements ask for nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.banking.agent import ASK_AGAIN, ASK_IDENTITY, QUESTIONS
from environments.banking.understanding import IDENTITY, SLOTS, asked


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("May I have your customer number, please?", {"customer_id"}),
        ("I'll need your date of birth and your security word.", {"birth_date", "security_word"}),
        ("Could you verify your identity first?", set(IDENTITY)),
        ("To proceed, please provide your customer ID.", {"customer_id"}),
        ("How much would you like to move?", {"amount"}),
        ("What amount should I transfer, and to which account?", {"amount", "target"}),
        ("To whom should I send it?", {"target"}),
        ("Please tell me which card it is.", {"card"}),
        ("What are the last four digits of the card?", {"card"}),
        ("Which transaction do you mean?", {"entry"}),
        ("When should it be paid?", {"day"}),
        ("Why do you want to dispute it?", {"reason"}),
        ("What is your new address?", {"value"}),
        ("Over how many months would you like to repay it?", {"months"}),
        ("What is your monthly income?", {"income"}),
        ("What kind of account would you like?", {"kind"}),
    ],
)
def test_slots_are_understood(text: str, slots: set[str]) -> None:
    assert slots <= asked(text).slots
    assert not asked(text).yes


@pytest.mark.parametrize(
    "text",
    [
        "I will move 20.00 from A1001 to A1002. Shall I go ahead?",
        "You want to send 1,250.00 to account A1002. Is that correct?",
        "Would you like me to freeze the card ending in 1234?",
        "Do you want me to close account A1001 for you?",
        "Please confirm that I should pay 12.50 to City Power.",
        "Should I proceed?",
        "May I proceed with the transfer?",
        "Shall I transfer the amount of 20.00 from account A1001?",
    ],
)
def test_a_question_for_a_yes_is_understood(text: str) -> None:
    assert asked(text).yes and not asked(text).slots


@pytest.mark.parametrize(
    "text",
    ["Is there anything else I can help you with?", "Anything else?", "Can I help you with any other request?"],
)
def test_a_question_for_more_is_no_slot_and_no_yes(text: str) -> None:
    found = asked(text)
    assert found.more and not found.yes and not found.slots


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I have moved the amount of 20.00 from your account to the recipient.",
        "Your card ending in 1234 is frozen.",
        "The reason is noted, the date of birth is right.",
        "Thank you. Your security word is correct.",
    ],
)
def test_statements_ask_for_nothing(text: str) -> None:
    found = asked(text)
    assert not found.slots and not found.yes and not found.more


def test_the_oracles_questions_are_understood() -> None:
    assert set(QUESTIONS) == set(SLOTS) - set(IDENTITY)
    for slot, question in QUESTIONS.items():
        assert slot in asked(question).slots
    for text in (ASK_IDENTITY, ASK_AGAIN):
        assert asked(text).slots == set(IDENTITY)


@given(st.text(max_size=400))
def test_anything_can_be_read(text: str) -> None:
    assert asked(text).slots <= set(SLOTS)


@pytest.mark.parametrize(
    "text", ["?" * 300_000, "a." * 200_000, "please " * 100_000, "who " * 100_000, "a.b" * 100_000]
)
def test_long_messages_are_read_in_time(text: str) -> None:
    assert isinstance(asked(text).question, bool)
