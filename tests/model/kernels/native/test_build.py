"""Compiling: once, whole, kept by what it depends on, and a clear word where it cannot be done."""

from __future__ import annotations

import ctypes
import logging
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from model.kernels.native import build, library, prebuilt

SMALL = 'extern "C" REAL twice(REAL x) { return 2 * x; }\n'


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cpp"
    folder.mkdir()
    (folder / "small.cpp").write_text(SMALL)
    monkeypatch.setattr(build, "SOURCES", folder)
    return folder


def test_a_library_is_compiled_and_loads(sources: Path, tmp_path: Path) -> None:
    made = build.build("double", tmp_path / "cache")
    function = ctypes.CDLL(str(made)).twice
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double]
    assert function(2.5) == 5.0
    assert [path.suffix for path in sorted((tmp_path / "cache").iterdir())] == [".lock", ".so"]


def test_many_at_once_compile_once(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Path] = []
    real = build.compile_library

    def noted(compiler: str, number: str, target: Path, flags: tuple[str, ...]) -> None:
        compiled.append(target)
        real(compiler, number, target, flags)

    monkeypatch.setattr(build, "compile_library", noted)
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: build.build("float", tmp_path / "cache"), range(6)))
    assert len(set(made)) == 1 and len(compiled) == 1


def test_another_source_or_number_is_another_library(sources: Path, tmp_path: Path) -> None:
    first = build.build("float", tmp_path / "cache")
    assert build.build("double", tmp_path / "cache") != first
    (sources / "small.cpp").write_text(SMALL + "// more\n")
    assert build.build("float", tmp_path / "cache") != first
    assert first.exists()


def test_broken_sources_install_nothing(sources: Path, tmp_path: Path) -> None:
    (sources / "small.cpp").write_text("this is no program")
    with pytest.raises(build.NoLibrary, match="failed:"):
        build.build("float", tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.so"))
    (sources / "small.cpp").write_text(SMALL)
    assert build.build("float", tmp_path / "cache").exists()


def test_no_compiler_is_said_by_name(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    build.compiler.cache_clear()
    try:
        with pytest.raises(build.NoLibrary, match="no C\\+\\+ compiler found"):
            build.build("float", tmp_path / "cache")
    finally:
        build.compiler.cache_clear()


def test_a_place_that_cannot_be_written_is_named(sources: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(build.NoLibrary, match="cache cannot be used"):
        build.build("float", tmp_path / "cache")


def test_without_a_library_one_line_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(real: str) -> Path:
        raise build.NoLibrary("no native kernels: of no use here")

    monkeypatch.setattr(build, "build", refuse)
    library._loaded.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert library.library(torch.float32) is None and library.library(torch.float32) is None
        assert [record.message for record in caplog.records] == [
            "no native kernels: of no use here; the torch forms serve"
        ]
    finally:
        library._loaded.cache_clear()


@pytest.mark.parametrize("value", ["0", "off", "false"])
def test_the_environment_turns_it_off(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALAESTRA_NATIVE", value)
    assert library.library(torch.float32) is None
    monkeypatch.setenv("PALAESTRA_NATIVE", "1")
    assert library.library(torch.float32) is not None
    assert library.library(torch.bfloat16) is None


@pytest.fixture
def made_elsewhere(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of prebuilt libraries, and no compiler from now on."""
    prebuilt.make(tmp_path / "made")
    monkeypatch.setenv("PALAESTRA_NATIVE_PREBUILT", str(tmp_path / "made"))
    monkeypatch.setenv("PALAESTRA_NATIVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for cached in (build.compiler, library._loaded, library._is_there):
        cached.cache_clear()
    yield tmp_path / "made"
    for cached in (build.compiler, library._loaded, library._is_there):
        cached.cache_clear()


def test_without_a_compiler_one_made_elsewhere_serves(made_elsewhere: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = library.present()
    assert found is not None and library.library(torch.float32) is found
    assert found._name == str(prebuilt.find("float")) and not caplog.records
    found.twice.restype, found.twice.argtypes = ctypes.c_float, [ctypes.c_float]
    assert found.twice(2.5) == 5.0
    assert library.library(torch.float64) is None  # nobody serves in it


def test_where_a_compiler_is_at_hand_one_made_elsewhere_makes_nobody_compile(
    made_elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(build, "_ask", lambda *command: "its version")
    assert library.present() is None and not (tmp_path / "cache").exists()


def test_the_best_level_that_the_processor_has_is_taken(made_elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prebuilt.platform, "machine", lambda: "x86_64")
    for level in prebuilt.LEVELS:
        if level.machine == "x86_64":
            (made_elsewhere / prebuilt._name(level)).touch()
    for says, expected in (
        (f"flags : {' '.join(prebuilt.LEVELS[0].needs)} more", "x86-64-v4"),
        (f"flags : {' '.join(prebuilt.LEVELS[1].needs)}", "x86-64-v3"),
    ):
        monkeypatch.setattr(build, "processor", lambda says=says: says)
        found = prebuilt.find("float")
        assert found is not None and expected in found.name
    monkeypatch.setattr(build, "processor", lambda: "flags : sse2")
    assert prebuilt.find("float") is None


def test_one_made_from_other_sources_is_not_taken(made_elsewhere: Path, sources: Path) -> None:
    assert prebuilt.find("float") is not None
    (sources / "small.cpp").write_text(SMALL + "// more\n")
    assert prebuilt.find("float") is None


def test_a_machine_of_an_unknown_kind_is_told(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prebuilt.platform, "machine", lambda: "pdp11")
    with pytest.raises(build.NoLibrary, match="pdp11"):
        prebuilt.make(tmp_path / "made")
