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
    with pytest.raises(BadRequest, match=r"environment\.py:1: RuntimeError: imported"):
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


def install(root: Path, monkeypatch: pytest.MonkeyPatch, name: str, points: str) -> None:
    about = root / f"{name}-0.3.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3.0\n")
    (about / "entry_points.txt").write_text(f"[palaestra.environments]\n{points}\n")
    monkeypatch.syspath_prepend(str(root))


def test_an_installed_package_is_found_by_its_entry_point(
    tmp_path: Path, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write(tmp_path, folder="lookup_package")
    (place / "__init__.py").write_text("")
    install(tmp_path, monkeypatch, "lookup_package", "lookup = lookup_package")
    registry = Registry.discover(home=nowhere)
    assert registry.folder("lookup") == place
    assert registry.broken == {}


def test_broken_installed_packages_are_named_and_stop_nobody(
    tmp_path: Path, nowhere: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good = write(tmp_path, folder="good_package")
    raising = write(tmp_path, folder="raising_package")
    wordy = write(tmp_path, "name = ", folder="wordy_package")
    for place, code in ((good, ""), (raising, "1 / 0"), (raising / "inner", ""), (wordy, "")):
        place.mkdir(exist_ok=True)
        (place / "__init__.py").write_text(code)
    points = "raising = raising_package.inner\ngone = no_such_package\nwordy = wordy_package\nlookup = good_package"
    install(tmp_path, monkeypatch, "several", points)
    registry = Registry.discover(home=nowhere)
    assert registry.names() == ["lookup"]
    assert sorted(registry.broken) == ["gone", "raising", "wordy"]
    assert "ZeroDivisionError" in registry.broken["raising"]
    assert "no package 'no_such_package'" in registry.broken["gone"]
    assert "manifest.toml" in registry.broken["wordy"]
    assert all(name in caplog.text for name in registry.broken)
    with pytest.raises(UnknownName, match="'gone' cannot be read: there is no package"):
        registry.load("gone")


# Bare files ------------------------------------------------------------------------------------------------------

BARE = """
from gym_core.environment import Environment, tool

class Base(Environment):
    pass

class WordCount(Base):
    \"\"\"Count the words.\"\"\"
    version = "2.0.0"

    @tool
    def look(self, where: str) -> str:
        return where
"""


def test_a_bare_file_has_the_manifest_of_its_class(tmp_path: Path) -> None:
    path = tmp_path / "words.py"
    path.write_text(BARE)
    registry = Registry.at(path)
    manifest = registry.manifest("word_count")
    assert (manifest.version, manifest.description, manifest.network) == ("2.0.0", "Count the words.", "none")
    assert registry.place("word_count") == path
    loaded = registry.load("word_count")
    assert (loaded.cls.name, loaded.version) == ("word_count", "2.0.0")
    assert load_class(loaded.spec).name == "word_count"  # as a worker process finds it


def test_a_file_beside_its_manifest_is_the_folder(tmp_path: Path) -> None:
    place = write(tmp_path)
    registry = Registry.at(place / "environment.py")
    assert registry.place("lookup") == place / "manifest.toml"
    assert Registry.at(place / "manifest.toml").names() == ["lookup"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("", "must define one Environment, it defines none"),
        ("from gym_core.environment import Environment", "it defines none"),
        (CODE, "it defines Lookup, Other"),
        ("import nothing_of_that_name", r"words\.py:1: ModuleNotFoundError"),
        ("def f(:", r"words\.py:1: SyntaxError"),
        (BARE.replace("version", 'name = "Word Count"; version'), "`name` of WordCount must be lower case"),
    ],
)
def test_a_bare_file_that_cannot_be_is_refused(tmp_path: Path, code: str, words: str) -> None:
    path = tmp_path / "words.py"
    path.write_text(code)
    with pytest.raises(BadRequest, match=words):
        Registry.at(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="there is no file"):
        Registry.at(tmp_path / "nothing.py")


def test_a_tool_that_cannot_be_declared_is_refused_at_loading(tmp_path: Path) -> None:
    path = tmp_path / "words.py"
    path.write_text(BARE.replace("where: str", "*where"))
    with pytest.raises(BadRequest, match="write its parameters out"):
        Registry.at(path).load("word_count")


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
