"""Replies of other servers, read without looking at what nobody needs."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.errors import PolicyFault
from policy_server.upstream_reply import Choice, logprobs_of, read_reply, token_ids_of


def choice_of(**fields: Any) -> Choice:
    return read_reply(msgspec.json.encode({"choices": [fields]}), "/v1/x").choices[0]


def entry(name: str, logprob: float) -> dict[str, Any]:
    return {"token": name, "logprob": logprob, "bytes": [65], "top_logprobs": [{"token": "x", "logprob": -9.0}]}


def test_ids_are_read_from_each_place_that_is_known() -> None:
    assert token_ids_of(choice_of(message={"generation_token_ids": [5, 6]})).tolist() == [5, 6]
    assert token_ids_of(choice_of(token_ids=[7])).tolist() == [7]
    assert token_ids_of(choice_of(logprobs={"content": [entry("token_id:12", -1.0)]})).tolist() == [12]
    assert token_ids_of(choice_of(logprobs={"tokens": ["token_id:3"], "token_logprobs": [-0.5]})).tolist() == [3]


def test_names_that_are_no_ids_give_none() -> None:
    assert token_ids_of(choice_of(logprobs={"content": [entry("token_id:12", -1.0), entry(" yes", -2.0)]})) is None
    assert token_ids_of(choice_of(logprobs=None)) is None


def test_logprobs_are_read_from_each_place_that_is_known() -> None:
    assert logprobs_of(choice_of(message={"generation_log_probs": [-0.25]})).tolist() == [-0.25]
    assert logprobs_of(choice_of(logprobs={"content": [entry("a", -1.0), entry("b", -2.0)]})).tolist() == [-1.0, -2.0]
    assert logprobs_of(choice_of(logprobs={"tokens": ["a"], "token_logprobs": [-0.5]})).tolist() == [-0.5]
    assert logprobs_of(choice_of(text="a")) is None


def test_a_first_token_without_a_logprob_is_nan() -> None:
    told = logprobs_of(choice_of(logprobs={"tokens": ["a", "b"], "token_logprobs": [None, -0.5]}))
    assert np.isnan(told[0]) and told[1] == -0.5


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"choices": null}',
        b'{"choices": [{"message": "hello"}]}',
        b'{"choices": [{"message": {"tool_calls": [{"name": "f"}]}}]}',
        b'{"choices": [{"token_ids": ["a"]}]}',
        b'{"choices": [',
    ],
)
def test_a_reply_of_another_shape_is_the_policys_fault(body: bytes) -> None:
    with pytest.raises(PolicyFault, match="upstream"):
        read_reply(body, "/v1/chat/completions")


def test_logprobs_of_another_shape_are_the_policys_fault() -> None:
    with pytest.raises(PolicyFault, match="log-probabilities"):
        logprobs_of(choice_of(logprobs={"content": [{"token": "a"}]}))


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.floats(-100, 0, width=32)), max_size=50))
def test_what_a_server_tells_comes_back(tokens: list[tuple[int, float]]) -> None:
    told = choice_of(logprobs={"content": [entry(f"token_id:{number}", value) for number, value in tokens]})
    assert logprobs_of(told).tolist() == [value for _, value in tokens]
    if tokens:
        assert token_ids_of(told).tolist() == [number for number, _ in tokens]
