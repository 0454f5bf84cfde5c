"""Templates: one pass, no surprises from braces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.judge.prompt import fill, names


@pytest.mark.parametrize(
    ("template", "fields", "filled"),
    [
        ("{a} and {b}", {"a": "1", "b": "2"}, "1 and 2"),
        ("{a}", {"a": "{b}", "b": "secret"}, "{b}"),
        (r"\frac{1}{2} {a}", {"a": r"\boxed{3}"}, r"\frac{1}{2} \boxed{3}"),
        ('{"result": "{a}"}', {"a": "x"}, '{"result": "x"}'),
        ("{a.__class__} {0} {} {a!r} {a:>5}", {"a": "x"}, "{a.__class__} {0} {} {a!r} {a:>5}"),
        ("{unknown} {a}", {"a": r"\g<0> \1"}, r"{unknown} \g<0> \1"),
        ("{", {"a": "x"}, "{"),
    ],
)
def test_only_known_names_are_replaced_and_what_is_put_in_stays(
    template: str, fields: dict[str, str], filled: str
) -> None:
    assert fill(template, fields) == filled


def test_a_template_for_str_format_has_doubled_braces() -> None:
    template = 'Say {{"result": "PASS"}} about {response}. {{{response}}} {unknown}'
    assert (
        fill(template, {"response": "{{x}}"}, doubled=True) == 'Say {"result": "PASS"} about {{x}}. {{{x}}} {unknown}'
    )


@given(st.text(), st.text())
def test_any_text_arrives_as_it_is(one: str, other: str) -> None:
    assert fill("<{a}|{b}>", {"a": one, "b": other}) == f"<{one}|{other}>"


def test_names() -> None:
    assert names('{a} {b_2} {"c"} {} {1}') == {"a", "b_2"}
