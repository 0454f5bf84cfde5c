from __future__ import annotations

import numpy as np
import torch

from policy_server.prefixes import PrefixCache

A, B, C = (np.array(ids, np.int64) for ids in ([1, 2, 3], [4, 5], [6]))


def test_a_prompt_is_found_with_its_hidden_state() -> None:
    cache = PrefixCache([7])
    assert cache.find(A) is None
    assert cache.put(A, torch.ones(2)) == 7
    found = cache.find(A.copy())
    assert found is not None
    assert (found.slot, found.num_tokens) == (7, 3)
    assert (cache.hits, cache.misses) == (1, 1)


def test_a_beginning_is_found_by_its_length() -> None:
    cache = PrefixCache([7])
    cache.put(np.array([1, 2, 3, 4]))
    longer = np.array([1, 2, 3, 4, 5, 6])
    found = cache.find(longer, 4)
    assert found is not None
    assert found.num_tokens == 4
    assert cache.find(longer, 3) is None
    assert cache.find(longer, 3, 4) == found
    assert cache.find(np.array([9, 2, 3, 4, 5, 6]), 4) is None


def test_a_state_without_hidden_does_not_answer_for_the_same_prompt() -> None:
    cache = PrefixCache([7])
    cache.put(A)
    assert cache.find(A) is None  # its hidden state is not known, so at least one token must be computed


def test_the_least_recently_used_goes() -> None:
    cache = PrefixCache([1, 0])
    assert [cache.put(A, torch.ones(1)), cache.put(B, torch.ones(1))] == [0, 1]
    cache.find(A)
    assert cache.put(C, torch.ones(1)) == 1
    assert cache.find(B) is None
    cache.clear()
    assert len(cache) == 0
    assert {cache.put(A), cache.put(B)} == {0, 1}


def test_what_is_known_already_is_not_put_twice() -> None:
    cache = PrefixCache([4])
    assert cache.put(A) == 4
    assert cache.put(A) is None
    assert PrefixCache([]).put(A) is None
