from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch

from gym_core.errors import BadRequest
from model.cache import StateCache
from model.config import HybridConfig
from model.tokenizer import Tokenizer
from policy_server.config import PolicyConfig
from policy_server.launch import open_backend, slot_bytes, slots_within

TINY = HybridConfig.tiny(320)


def test_the_memory_of_a_slot_is_that_of_the_cache() -> None:
    cache = StateCache(TINY, 6, 512)
    cache.reserve(512)
    assert 6 * slot_bytes(TINY, 512, torch.float32) == cache.nbytes


def test_nanos_state_by_hand() -> None:
    """23 Mamba layers: 64 heads of 64 x 128 in fp32, 3 columns of 6,144 in bf16; 6 of attention: 2 heads of 128."""
    state = 23 * (64 * 64 * 128 * 4 + 3 * 6144 * 2)
    kept = 6 * 2 * 2 * 128 * 2 * 4096
    assert slot_bytes(HybridConfig.nano(), 4096, torch.bfloat16) == state + kept + 8  # and its length


@pytest.mark.parametrize(("room", "slots"), [(100, (8, 4)), (10, (8, 2)), (8, (8, 0)), (3, (3, 0))])
def test_kept_states_give_way_before_running_ones(room: int, slots: tuple[int, int]) -> None:
    length = 16384
    each = slot_bytes(TINY, length, torch.float32)
    megabytes = -(-room * each >> 20)
    assert (megabytes << 20) // each == room  # the rounding up is less than a slot
    config = PolicyConfig(num_slots=8, num_prefixes=4, max_length=length, cache_mb=megabytes)
    assert slots_within(config, TINY, torch.float32) == slots


def test_not_one_sample_fits() -> None:
    with pytest.raises(BadRequest) as caught:
        slots_within(PolicyConfig(max_length=1 << 16, cache_mb=1), TINY, torch.float32)
    assert caught.value.field == "cache_mb"


@pytest.mark.parametrize("device", ["cuda:9999", "meta", "mps", "banana", "cpu:x", ""])
def test_a_device_that_is_not_there_is_named(device: str, tmp_path: Path) -> None:
    Tokenizer.train([], 300).save(tmp_path)
    with pytest.raises(BadRequest) as caught:
        open_backend(PolicyConfig(checkpoint=str(tmp_path), device=device))
    assert caught.value.field == "device"


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_threads", 0), ("max_tokens", 0), ("temperature", -1.0), ("top_p", 0.0), ("vllm_start_s", 0.0)],
)
def test_settings_that_nothing_can_be_served_with_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        msgspec.convert({name: value}, PolicyConfig)
