"""Environments are found by their manifests, named in many ways, and refused with the file that is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gym_core.errors import BadRequest, UnknownName
from gym_core.loading import load_class, load_file
from gym_core.registry import LoadedEnvironment, Registry

CODE = """
from gym_core.environment import Environment

class Lookup(Environment):
    \"\"\"Find it.\"\"\"
    name = "lookup"
    version = "0.3.0"

class Other(Environment):
    name = "other"

class NoEnvironment:
    pass
"""
MANIFEST = """
name = "lookup"
version = "0.3.0"
module = "environment.py"
class = "Lookup"
description = "Find it."
licence = "Apache-2.0"
aliases = ["lookup_simple_agent"]
rows = ["lookups"]
"""


def write(root: Path, manifest: str = MANIFEST, folder: str = "lookup", code: str = CODE) -> Path:
    place = root / folder
    place.mkdir(parents=True)
    (place / "manifest.toml").write_text(manifest)
    (place / "environment.py").write_text(code)
    return place


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    return tmp_path / "nowhere"


def test_a_folder_or_a_folder_of_folders_is_an_extra_path(tmp_path: Path, nowhere: Path) -> None:
    place = write(tmp_path)
    for path in (place, tmp_path, str(tmp_path)):
        registry = Registry.discover([path], home=nowhere)
        assert registry.names() == ["lookup"]
        assert registry.folder("lookup") == place


def test_nothing_is_imported_before_it_is_loaded(tmp_path: Path, nowhere: Path) -> None:
    write(tmp_path, code="raise RuntimeError('imported')")
    registry = Registry.discover([tmp_path], home=nowhere)
    assert registry.manifest("lookup").description == "Find it."
    with pytest.raises(RuntimeError, match="imported"):
        registry.load("lookup")


def test_aliases_and_row_kinds_lead_to_the_environment(tmp_path: Path, nowhere: Path) -> None:
    write(tmp_path)
    registry = Registry.discover([tmp_path], home=nowhere)
    for name in ("lookup", "lookup_simple_agent", "lookups"):
        loaded = registry.load(name)
        assert (loaded.name, loaded.version) == ("lookup", "0.3.0")
        assert loaded.cls is load_class(loaded.spec)


def test_an_unknown_name_is_told_the_nearest(tmp_path: Path, nowhere: Path) -> None:
    write(tmp_path)
    registry = Registry.discover([tmp_path], home=nowhere)
    with pytest.raises(UnknownName) as near:
        registry.load("lokup")
    assert "did you mean lookup" in near.value.hint
    with pytest.raises(UnknownName) as far:
        registry.manifest("zzz")
    assert far.value.hint == "there are: lookup"


def test_the_first_of_a_name_wins(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine")
    write(tmp_path / "home")
    registry = Registry.discover([tmp_path / "mine"], home=tmp_path / "home")
    assert registry.folder("lookup") == mine


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('class = "Lookup"', 'class = "Other"', "the class says 'other'"),
        ('class = "Lookup"', 'class = "Missing"', "has no class 'Missing'"),
        ('class = "Lookup"', 'class = "NoEnvironment"', "is not an Environment"),
        ('version = "0.3.0"', 'version = "9.9.9"', "the class says '0.3.0'"),
        ('module = "environment.py"', 'module = "absent.py"', "no Python file"),
    ],
)
def test_a_manifest_that_its_code_contradicts_is_refused(
    tmp_path: Path, nowhere: Path, old: str, new: str, words: str
) -> None:
    write(tmp_path, MANIFEST.replace(old, new))
    with pytest.raises(BadRequest, match=words):
        Registry.discover([tmp_path], home=nowhere).load("lookup")


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ("name = ", "manifest.toml"),
        (MANIFEST + "licens = 1", "unknown field `licens`"),
        (MANIFEST.replace('name = "lookup"', ""), "missing required field `name`"),
        (MANIFEST.replace('name = "lookup"', 'name = "Look Up"'), "lower case letters"),
        (MANIFEST.replace('rows = ["lookups"]', "rows = 3"), r"Expected `array`, got `int` - at `\$.rows`"),
    ],
)
def test_a_broken_manifest_names_its_file_and_key(tmp_path: Path, nowhere: Path, manifest: str, words: str) -> None:
    write(tmp_path, manifest)
    with pytest.raises(BadRequest, match=words) as refused:
        Registry.discover([tmp_path], home=nowhere)
    assert "manifest.toml" in refused.value.message


def test_a_path_without_a_manifest_is_refused(tmp_path: Path, nowhere: Path) -> None:
    with pytest.raises(BadRequest, match="holds no manifest"):
        Registry.discover([tmp_path], home=nowhere)


def test_an_installed_package_is_found_by_its_entry_point(
    tmp_path: Path, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write(tmp_path, folder="lookup_package")
    (place / "__init__.py").write_text("")
    about = tmp_path / "lookup_package-0.3.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lookup-package\nVersion: 0.3.0\n")
    (about / "entry_points.txt").write_text("[palaestra.environments]\nlookup = lookup_package\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry.discover(home=nowhere)
    assert registry.folder("lookup") == place


def test_the_house_is_found_without_being_asked() -> None:
    assert {"math", "ledger", "instruction_following"} <= set(Registry.discover().names())


def test_two_files_called_alike_stay_apart(tmp_path: Path) -> None:
    one, two = write(tmp_path, folder="one"), write(tmp_path, folder="two")
    first, second = load_file(one / "environment.py"), load_file(two / "environment.py")
    assert first is not second
    assert load_file(one / "environment.py") is first
    assert sys.modules[first.__name__] is first


def test_a_file_that_fails_to_import_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("1 / 0")
    with pytest.raises(ZeroDivisionError):
        load_file(path)
    path.write_text("fine = True")
    assert load_file(path).fine


@pytest.mark.parametrize("spec", ["", "module", ":Class", "module:"])
def test_a_spec_that_is_none_is_refused(spec: str) -> None:
    with pytest.raises(BadRequest, match=r"package\.module:Class"):
        load_class(spec)


def test_a_class_can_be_served_without_a_manifest(tmp_path: Path) -> None:
    cls = load_class(f"{write(tmp_path) / 'environment.py'}:Lookup")
    loaded = LoadedEnvironment.of(cls)
    assert (loaded.name, loaded.version, loaded.manifest.description) == ("lookup", "0.3.0", "Find it.")
