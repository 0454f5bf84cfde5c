"""The gates of strict grading: the right answer in its forms, and nothing that carries more."""

import pytest

from environments.reasoning_gym.catalogue import generators
from environments.reasoning_gym.rules import RULES


def passes(rule, answer, gold="", **metadata):
    return RULES[rule](answer, {"question": "?", "answer": gold, "metadata": metadata})


@pytest.mark.parametrize(
    ("rule", "gold", "right", "wrong"),
    [
        ("text", "1 0\n0 1", ["1 0 \n0 1\n"], ["1 0 0 1", "zzz\n1 0\n0 1", "1 0\n0 1\n1"]),
        ("words", "Hailers", ["hailers", " HAILERS"], ["hailers x", "hailershailers", ""]),
        ("number", "1234", ["1234", "+1,234.00", "1234."], ["1234 1234", "12,34", "1234!", "١٢٣٤", "nan", "inf", ""]),
        ("near", "0.00006", ["0.00006", "6/100000", "6e-5"], ["0", "0.0001", "nan", "0.00006 or 1", "6/0"]),
        ("numbers", "-3.625, 0.0", ["0, -3.625", "-3.6250,0"], ["-3.625", "-3.625, 0, 1", "-3.625, 0, zzz", "nan, 0"]),
        ("numbers", "", ['""', "''"], ["", "0", "asdf"]),
        ("number_list", "['1.5', '2']", ['["1.5","2"]', "[1.5, 2]"], ["[1.5, 3]", "[2, 1.5]", "[]", "1.5, 2", "zzz"]),
        ("same_json", '{"a": 1}', ['{"a":1}'], ['{"a": true}', '{"a": 1} x', '{"a": NaN}', "{}", "[" * 5000]),
        ("some_json", "", ["[]", '{"0": 1}'], ["5", "NaN", "[NaN]", "x", ""]),
        ("factors", "3 × 3 × 37", ["3 x 37 x 3", "3*3*37"], ["3 × 111", "asdf", "3 × 3 × 37 × 1", "3 3 37"]),
        ("fraction", "138/583", ["138 / 583", r"\frac{138}{583}", r"$\dfrac{138}{583}$"], ["276/1166", "138/583 zzz"]),
        ("fraction", r"$\frac{-1}{2}$", [r"-\frac{1}{2}", "-1/2"], ["1/2", r"-\frac{-1}{2}"]),
        (
            "clauses",
            "Amelia is a hero, and Bo is an egoist.",
            ["bo is an egoist and amelia is a hero", "Amelia is a hero, and Bo is an egoist"],
            [
                "zzz Amelia is a hero, and Bo is an egoist zzz",
                "Amelia is a hero",
                "Amelia is a hero, Bo is an egoist, Bo is a hero",
            ],
        ),
    ],
)
def test_rules(rule, gold, right, wrong):
    assert [answer for answer in right if not passes(rule, answer, gold)] == []
    assert [answer for answer in wrong if passes(rule, answer, gold)] == []


def test_sums_use_the_given_numbers_once():
    given = {"numbers": [8, 5, 10, 6]}
    assert passes("sums", "10*(8 - 5) - 6", **given)
    assert not passes("sums", "6*4*1*1", **given)
    assert not passes("sums", "24", **given)
    assert not passes("sums", "10*(8 - 5) - 6 + 0*8", **given)
    assert passes("sums", "94*4 - 61 - 6", numbers=[6, 61, 94, 4], target=309)


def test_one_of_the_listed_boards():
    valid = {"valid_answers": ["_ Q\nQ _", "Q _\n_ Q"]}
    assert passes("one_of", "Q _\n_ Q ", **valid)
    assert not passes("one_of", "Q Q\n_ _", **valid)


def test_every_generator_has_a_rule_and_a_reason():
    for name, entry in generators().items():
        assert entry.rule in RULES, name
        assert not entry.unsafe or entry.not_generated, name
        assert all(len(reason) > 20 for reason in (entry.denied, entry.not_generated) if reason), name
