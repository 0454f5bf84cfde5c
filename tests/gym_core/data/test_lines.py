"""Lines and rows of JSONL files."""

from __future__ import annotations

from pathlib import Path

import pytest

from gym_core.data import lines as module
from gym_core.data.lines import LineIndex, read_lines
from gym_core.errors import BadRequest, BadRow


def test_lines_know_their_number_and_place(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a":1}\r\n\n  \n{"a":2}\n{"a":3}')
    found = list(read_lines(path))
    assert [(line.number, line.offset, line.data) for line in found] == [
        (1, 0, b'{"a":1}'), (4, 13, b'{"a":2}'), (5, 21, b'{"a":3}'),
    ]  # fmt: skip


@pytest.mark.parametrize("text", [b"{", b"[1]", b"3", b'{"a":NaN}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_object_is_refused_by_its_line(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{}\n" + text)
    with pytest.raises(BadRow, match="line 2"):
        list(read_lines(path))[1].row()


def test_big_numbers_and_unknown_fields_come_back_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"n": 123456789012345678901234567890, "ü": [null]}')
    (line,) = read_lines(path)
    assert line.row() == {"n": 123456789012345678901234567890, "ü": [None]}


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a":1}\n{"a":2}\n')
    assert [line.row()["a"] for line in read_lines(path)] == [1, 2]
    with LineIndex(path) as index:
        assert index.row(0) == {"a": 1}


@pytest.mark.parametrize(("start", "word"), [(b"PAR1....", "Parquet"), (b"\x1f\x8b\x08\x00", "gzip")])
def test_other_formats_are_named_with_the_way_out(tmp_path: Path, start: bytes, word: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(start)
    with pytest.raises(BadRequest, match=word) as refused:
        list(read_lines(path))
    assert refused.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"none\.jsonl cannot be read"):
        list(read_lines(tmp_path / "none.jsonl"))


def test_an_endless_line_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINE_BYTES", 100)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{}\n" + b"x" * 1000)
    with pytest.raises(BadRequest, match="line 2 is longer"):
        list(read_lines(path))


def test_an_index_finds_any_row_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"n": {n}}}\n\n' for n in range(50)))
    with LineIndex(path) as index:
        assert len(index) == 50
        assert [index.row(place)["n"] for place in (49, 0, 17)] == [49, 0, 17]
