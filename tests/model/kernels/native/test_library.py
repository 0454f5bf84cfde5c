"""Calls of compiled code that are cut into parts: nobody leaves while a part is at work on what is the caller's."""

from __future__ import annotations

import ctypes
import threading
from types import SimpleNamespace

import pytest
import torch

from model.kernels.native import library


def test_a_call_that_is_broken_off_waits_for_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = library.structure("Nothing", ints=("count",))()
    begun, release, ended, raised = threading.Event(), threading.Event(), list[int](), list[BaseException]()

    def part(pointer: object, first: ctypes.c_int64, last: ctypes.c_int64) -> None:
        if first.value == 0:
            begun.wait(30)
            raise KeyboardInterrupt
        begun.set()
        release.wait(30)
        ended.append(last.value)

    def call() -> None:
        try:
            library.run(torch.float32, "part", nothing, [0, 1, 2], numbered=False)
        except KeyboardInterrupt as error:
            raised.append(error)

    monkeypatch.setattr(library.torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(library, "library", lambda dtype: SimpleNamespace(part=part))
    caller = threading.Thread(target=call)
    caller.start()
    assert begun.wait(30)
    caller.join(0.2)
    assert caller.is_alive() and not raised
    release.set()
    caller.join(30)
    assert ended == [2] and raised
