"""One safetensors file: what we write the library reads and the other way round; every broken header is named."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from model import checkpoint_pieces
from model.checkpoint_file import StoredSource, TensorSource, read_header, write_file
from model.checkpoint_read import read_files, read_into

SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)
FLOATS = st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16])


def counted(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.arange(math.prod(shape)).view(shape).to(dtype)


def write(file: Path, header: object, data: bytes = b"") -> Path:
    raw = json.dumps(header).encode()
    file.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return file


@settings(deadline=None, max_examples=40)
@given(tensors=st.dictionaries(st.text(min_size=1, max_size=8), st.tuples(SHAPES, FLOATS), max_size=6))
def test_the_library_and_we_read_each_other(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, tuple[tuple[int, ...], torch.dtype]]
) -> None:
    tensors.pop("__metadata__", None)
    folder = tmp_path_factory.mktemp("files")
    ours = {name: counted(shape, dtype) for name, (shape, dtype) in tensors.items()}
    write_file(folder / "ours", {name: TensorSource(tensor) for name, tensor in ours.items()})
    theirs = load_file(folder / "ours")
    assert theirs.keys() == ours.keys()
    save_file(ours, folder / "theirs")
    for file in ("ours", "theirs"):
        header = read_header(folder / file)
        back = {name: torch.empty(tensor.shape, dtype=tensor.dtype) for name, tensor in ours.items()}
        read_into((header[name], target) for name, target in back.items())
        for name, tensor in ours.items():
            assert torch.equal(back[name], tensor) and torch.equal(theirs[name], tensor), name
            assert header[name].dtype == tensor.dtype and header[name].shape == tuple(tensor.shape)


def test_wide_numbers_come_first_and_each_lies_at_a_multiple_of_its_width(tmp_path: Path) -> None:
    mixed = {"a": counted((3,), torch.bfloat16), "b": counted((3,)), "c": counted((1,), torch.float64)}
    write_file(tmp_path / "file", {name: TensorSource(tensor) for name, tensor in mixed.items()})
    header = read_header(tmp_path / "file")
    assert sorted(header, key=lambda name: header[name].start) == ["c", "b", "a"]
    assert all(tensor.start % tensor.dtype.itemsize == 0 for tensor in header.values() if tensor.dtype)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("piece", [8, 64, 1 << 24])
@pytest.mark.parametrize("compiled", ["0", "1"])
def test_any_order_dtype_and_piece_gives_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, piece: int, compiled: str
) -> None:
    monkeypatch.setattr(checkpoint_pieces, "PIECE_BYTES", piece)
    monkeypatch.setattr(checkpoint_pieces, "CACHED_BYTES", piece)
    monkeypatch.setenv("PALAESTRA_NATIVE", compiled)
    base = counted((6, 10)) / 7
    views = {"plain": base, "turned": base.t(), "columns": base[:, 2:5], "taps": base.t().unsqueeze(1)}
    file = tmp_path / "file"
    write_file(file, {name: TensorSource(view) for name, view in views.items()}, threads)
    assert all(torch.equal(stored, views[name]) for name, stored in load_file(file).items())
    header = read_header(file)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        room = torch.full((10, 6), float("nan"), dtype=dtype)
        targets = {"plain": torch.empty(6, 10, dtype=dtype), "turned": room, "columns": torch.empty(3, 6).to(dtype).t()}
        read_into(((header[name], target) for name, target in targets.items()), threads)
        for name, target in targets.items():
            assert torch.equal(target, views[name].to(dtype)), name
        inner = torch.full((6, 10), float("nan"), dtype=dtype)
        read_into([(header["turned"], inner.t())], threads)
        assert torch.equal(inner, base.to(dtype))


def test_a_tensor_of_another_file_is_passed_on_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_pieces, "CACHED_BYTES", 16)
    x = counted((7, 3)) / 3
    save_file({"x": x, "scalar": torch.tensor(2.5)}, tmp_path / "one")
    stored = read_header(tmp_path / "one")
    sources = {"x": StoredSource(stored["x"], torch.bfloat16), "scalar": StoredSource(stored["scalar"])}
    write_file(tmp_path / "two", sources)
    back = load_file(tmp_path / "two")
    assert torch.equal(back["x"], x.bfloat16()) and back["scalar"] == 2.5


def entry(shape: list[int], first: int, last: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ([], 0, "header is broken"),
        ({"x": {"dtype": "F32"}}, 0, "header is broken"),
        ({"x": entry([2], 0, 4)}, 4, r"shape \[2\] of F32 does not take 4 bytes"),
        ({"x": entry([-1], 0, 4)}, 4, "natural numbers"),
        ({"x": entry([1], 4, 0)}, 4, "natural numbers"),
        ({"x": entry([1], 0, 4), "y": entry([1], 8, 12)}, 12, "y begins at byte"),
        ({"x": entry([1], 0, 4), "y": entry([1], 0, 4)}, 4, "begins at byte"),
        ({"x": entry([1], 0, 4)}, 5, "1 bytes more than its header says"),
    ],
)
def test_broken_headers(tmp_path: Path, header: object, data: int, message: str) -> None:
    file = write(tmp_path / "weights", header, bytes(data))
    with pytest.raises(ValueError, match=f"weights is not a readable safetensors file: .*{message}"):
        read_header(file)


@pytest.mark.parametrize("content", [b"", b"abc", (1 << 60).to_bytes(8, "little") + b"{}", b"\2" + bytes(7) + b"{x"])
def test_files_that_are_something_else(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights").write_bytes(content)
    with pytest.raises(ValueError, match="weights is not a readable safetensors file"):
        read_header(tmp_path / "weights")


def test_a_cut_file_marks_the_tensors_beyond_its_end(tmp_path: Path) -> None:
    file = write(tmp_path / "weights", {"a": entry([1], 0, 4), "b": entry([2], 4, 12)}, bytes(8))
    assert {name: tensor.truncated for name, tensor in read_header(file).items()} == {"a": False, "b": True}


def test_a_file_that_shrinks_while_it_is_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    save_file({"x": counted((64,))}, file)
    stored = read_header(file)["x"]
    file.write_bytes(file.read_bytes()[:-16])
    with pytest.raises(OSError, match=r"weights ended at byte \d+ while it was read, 16 bytes too early"):
        read_into([(stored, torch.empty(64))])


def test_numbers_that_torch_does_not_know_are_named_as_stored(tmp_path: Path) -> None:
    file = write(tmp_path / "weights", {"x": entry([2], 0, 1, "F4")}, bytes(1))
    assert read_header(file)["x"].dtype is None and read_header(file)["x"].stored_as == "F4"


@pytest.mark.parametrize("compiled", ["0", "1"])
@pytest.mark.parametrize("stored", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_turned_matrices_are_stored_in_any_dtype(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: torch.dtype, compiled: str
) -> None:
    monkeypatch.setenv("PALAESTRA_NATIVE", compiled)
    monkeypatch.setattr(checkpoint_pieces, "CACHED_BYTES", 1000)
    inner = torch.randn(70, 41)
    for kept in (torch.float32, torch.bfloat16):
        write_file(tmp_path / "file", {"x": TensorSource(inner.to(kept).t(), stored)})
        assert torch.equal(load_file(tmp_path / "file")["x"], inner.to(kept).t().to(stored))
        target = torch.empty(70, 41, dtype=kept)
        read_into([(read_header(tmp_path / "file")["x"], target.t())])
        assert torch.equal(target, inner.to(kept).to(stored).to(kept))


def test_files_are_read_whole_or_refused_by_name(tmp_path: Path) -> None:
    first, second = {"a": counted((2, 3)), "b": torch.tensor(True)}, {"a": counted((4,), torch.bfloat16)}
    save_file(first, tmp_path / "1")
    save_file(second, tmp_path / "2")
    found = read_files([tmp_path / "1", tmp_path / "2"])
    assert torch.equal(found["a"], second["a"]) and torch.equal(found["b"], first["b"])
    (tmp_path / "2").write_bytes((tmp_path / "2").read_bytes()[:-1])
    with pytest.raises(ValueError, match="2 is not a readable safetensors file: it ends before a does"):
        read_files([tmp_path / "1", tmp_path / "2"])
    strange = write(tmp_path / "3", {"c": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}, b"x")
    with pytest.raises(ValueError, match="c is stored as F4"):
        read_files([strange])
