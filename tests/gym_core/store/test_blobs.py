"""Token blobs in append-only files: what is read is what was written, or a typed error."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.store import StoreFault
from gym_core.store.blobs import NOWHERE, BlobReader, BlobRef, BlobWriter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store.db.blobs"


@given(batches=st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=5), max_size=6), size=st.integers(1, 99))
def test_every_blob_comes_back_wherever_files_end(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[bytes]], size: int
) -> None:
    folder = tmp_path_factory.mktemp("blobs")
    writer, reader = BlobWriter(folder, segment_bytes=size), BlobReader(folder)
    kept = [(blob, ref) for batch in batches for blob, ref in zip(batch, writer.append(batch), strict=True)]
    writer.close()
    assert [reader.read(ref) for _, ref in kept] == [blob for blob, _ in kept]
    reader.close()


def test_offsets_and_checksums_are_those_of_the_file(folder: Path) -> None:
    writer = BlobWriter(folder)
    first, nothing, second = writer.append([b"abc", b"", b"defgh"])
    (path,) = folder.iterdir()
    assert path.read_bytes() == b"abcdefgh"
    assert first == BlobRef(path.name, 0, 3, zlib.crc32(b"abc"))
    assert second == BlobRef(path.name, 3, 5, zlib.crc32(b"defgh"))
    assert nothing == NOWHERE
    writer.close()


def test_each_writer_has_a_file_of_its_own(folder: Path) -> None:
    writers = [BlobWriter(folder) for _ in range(3)]
    refs = [writer.append([b"x"])[0] for writer in writers]
    assert len({ref.file for ref in refs}) == 3
    for writer in writers:
        writer.close()


def test_nothing_is_made_before_the_first_blob(folder: Path) -> None:
    writer = BlobWriter(folder)
    assert writer.append([b"", b""]) == [NOWHERE, NOWHERE]
    assert not folder.exists()
    writer.close()


def test_a_torn_write_is_overwritten_by_the_next(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, reader = BlobWriter(folder), BlobReader(folder)
    first = writer.append([b"first"])[0]
    pwrite = os.pwrite
    calls = iter([4])  # four bytes arrive, then the disk is full

    def failing(file: int, data: memoryview, offset: int) -> int:
        for allowed in calls:
            return pwrite(file, data[:allowed], offset)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", failing)
    with pytest.raises(OSError, match="No space left"):
        writer.append([b"torn away"])
    monkeypatch.undo()
    second = writer.append([b"ok"])[0]
    assert (second.offset, reader.read(first), reader.read(second)) == (5, b"first", b"ok")
    writer.close()
    reader.close()


def test_a_write_in_pieces_is_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: pwrite(file, data[:2], offset))
    writer, reader = BlobWriter(folder), BlobReader(folder)
    refs = writer.append([b"abcde", b"fg"])
    assert [reader.read(ref) for ref in refs] == [b"abcde", b"fg"]
    writer.close()
    reader.close()


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_damage_is_a_typed_error_that_names_the_file(folder: Path, damage: str) -> None:
    writer = BlobWriter(folder)
    ref = writer.append([b"x" * 100])[0]
    writer.close()
    path = folder / ref.file
    if damage == "cut":
        os.truncate(path, 99)
    elif damage == "changed":
        path.write_bytes(b"x" * 50 + b"y" + b"x" * 49)
    else:
        path.unlink()
    reader = BlobReader(folder)
    with pytest.raises(StoreFault, match=ref.file):
        reader.read(ref)
    reader.close()


def test_a_torn_tail_harms_nothing_before_it(folder: Path) -> None:
    writer = BlobWriter(folder)
    ref = writer.append([b"whole"])[0]
    writer.close()
    with (folder / ref.file).open("ab") as file:
        file.write(b"torn")
    reader = BlobReader(folder)
    assert reader.read(ref) == b"whole"
    reader.close()


def test_a_reader_keeps_few_files_open(folder: Path) -> None:
    writers = [BlobWriter(folder) for _ in range(40)]
    refs = [writer.append([bytes([number])])[0] for number, writer in enumerate(writers)]
    reader = BlobReader(folder)
    assert [reader.read(ref) for ref in refs * 2] == [bytes([number]) for number in range(40)] * 2
    assert len(reader._files) == 32
    reader.close()
    for writer in writers:
        writer.close()
