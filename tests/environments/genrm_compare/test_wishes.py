"""Each wish by hand: what keeps it and what does not."""

from __future__ import annotations

import random

import pytest

from environments.genrm_compare.questions import FAMILIES, Question
from environments.genrm_compare.wishes import KINDS, ORDER, Draft, Wish, draw_wishes


@pytest.mark.parametrize(
    ("kind", "value", "text", "kept"),
    [
        ("brief", "3", "one two three", True),
        ("brief", "3", "one two three four", False),
        ("brief", "3", "...", False),
        ("greet", "Kim", "Kim, it is 4.", True),
        ("greet", "Kim", "Hello Kim, it is 4.", False),
        ("greet", "Kim", "kim, it is 4.", False),
        ("close", "Take care.", "It is 4. Take care.", True),
        ("close", "Take care.", "It is 4. Take care", False),
        ("close", "Take care.", "Take care. It is 4. Take care.", False),
        ("avoid", "really", "It is 4.", True),
        ("avoid", "really", "REALLY 4.", False),
        ("sentences", "2", "It is 4. Good.", True),
        ("sentences", "2", "It is 4.5.", False),
        ("sentences", "2", "It is 4. Good. And", False),
        ("plain", "Markdown", "It is 4.", True),
        ("plain", "Markdown", "It is **4**.", False),
        ("plain", "quotation marks", "It is “4”.", False),
    ],
)
def test_a_wish_is_kept_or_not(kind: str, value: str, text: str, kept: bool) -> None:
    assert Wish(kind, value).kept(text) is kept
    assert value in Wish(kind, value).ask()


def test_every_drawn_set_of_wishes_is_kept_by_its_draft() -> None:
    for seed in range(300):
        rng = random.Random(seed)
        draft = Draft("It is 4.")
        wishes = draw_wishes(rng, draft, rng.randint(1, 5))
        assert all(wish.kept(draft.text) for wish in wishes), (wishes, draft.text)
        assert wishes[-1].kind == "brief" and len({wish.kind for wish in wishes}) == len(wishes)
    assert set(ORDER) == set(KINDS)


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("You pay 12.", True),
        ("12", True),
        ("You pay 12 or 13.", False),
        ("12 12", False),
        ("You pay 112.", False),
        ("You pay 12x.", False),
        ("You pay -12.", False),
        ("You pay 12.0.", False),
        ("twelve", False),
        ("１２", False),
    ],
)
def test_an_answer_is_exactly_one_number(reply: str, right: bool) -> None:
    assert Question("", "12", "").answered(reply) is right


@pytest.mark.parametrize(
    ("reply", "right"),
    [("It is Bo.", True), ("Bo!", True), ("Bo or Ada", False), ("Bobo", False), ("Ada, not Bo", False)],
)
def test_an_answer_is_exactly_one_candidate(reply: str, right: bool) -> None:
    assert Question("", "Bo", "", ("Ada", "Bo", "Cleo")).answered(reply) is right


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_every_family_answers_itself_and_never_its_own_prompt(family) -> None:  # type: ignore[no-untyped-def]
    for seed in range(100):
        question = family(random.Random(seed), seed % 4)
        assert question.answered(question.says)
        assert not question.answered(question.text)
