from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.errors import Busy
from policy_server.requests import GenerateRequest
from policy_server.scheduler import Job, Scheduler


def job(n: int = 1, length: int = 4, priority: int = 0) -> Job:
    request = GenerateRequest(prompt_token_ids=[1] * length, n=n, priority=priority)
    return Job(request, np.ones(length, np.int64), 8, 0, math.inf, lambda job, error: None, [None] * n)


def finish(scheduler: Scheduler, slots: list[int]) -> None:
    for slot in slots:
        scheduler.release(slot)


def test_lowest_slots_in_order_of_arrival() -> None:
    scheduler = Scheduler(4, 10)
    first, second = job(n=2), job()
    scheduler.submit(first)
    scheduler.submit(second)
    admissions = scheduler.admit(100)
    assert [(a.job is first, [s.slot for s in a.sequences]) for a in admissions] == [(True, [0, 1]), (False, [2])]


def test_a_large_request_is_not_overtaken() -> None:
    scheduler = Scheduler(2, 10)
    scheduler.submit(job())
    [running] = scheduler.admit(100)
    large, small = job(n=2), job()
    scheduler.submit(large)
    scheduler.submit(small)
    assert scheduler.admit(100) == []
    finish(scheduler, [running.sequences[0].slot])
    assert [a.job for a in scheduler.admit(100)] == [large]


def test_prefill_tokens_bound_a_step_but_one_prompt_always_enters() -> None:
    scheduler = Scheduler(8, 10)
    for length in (50, 5, 5, 5):
        scheduler.submit(job(length=length))
    assert [len(a.job.prompt) for a in scheduler.admit(10)] == [50]
    assert [len(a.job.prompt) for a in scheduler.admit(10)] == [5, 5]
    assert [len(a.job.prompt) for a in scheduler.admit(10)] == [5]


def test_more_samples_than_slots_enter_in_parts() -> None:
    scheduler = Scheduler(2, 10)
    scheduler.submit(job(n=5))
    sizes = []
    while scheduler.num_waiting:
        [admission] = scheduler.admit(100)
        sizes.append([s.index for s in admission.sequences])
        finish(scheduler, [s.slot for s in admission.sequences])
    assert sizes == [[0, 1], [2, 3], [4]]


def test_a_full_queue_is_refused() -> None:
    scheduler = Scheduler(1, 2)
    scheduler.submit(job())
    scheduler.refuse_beyond(0)
    with pytest.raises(Busy):
        scheduler.refuse_beyond(1)


def test_remove() -> None:
    scheduler = Scheduler(1, 5)
    kept, gone = job(), job()
    scheduler.submit(gone)
    scheduler.submit(kept)
    scheduler.remove(gone)
    assert scheduler.waiting() == [kept]


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 30), st.integers(0, 2)), max_size=25), st.integers(1, 4))
def test_every_sample_runs_once_and_all_slots_come_back(jobs: list[tuple[int, int, int]], num_slots: int) -> None:
    scheduler = Scheduler(num_slots, 100)
    submitted = [job(*fields) for fields in jobs]
    for each in submitted:
        scheduler.submit(each)
    ran: list[tuple[int, int]] = []
    while scheduler.num_waiting:
        admissions = scheduler.admit(20)
        assert admissions
        sequences = [s for a in admissions for s in a.sequences]
        assert len({s.slot for s in sequences}) == len(sequences) <= num_slots
        ran += [(id(s.job), s.index) for s in sequences]
        finish(scheduler, [s.slot for s in sequences])
    assert sorted(ran) == sorted((id(each), i) for each in submitted for i in range(each.request.n))
    assert scheduler.num_running == 0
