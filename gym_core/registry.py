"""Which environments there are, found by their manifests; none of them is imported before it is loaded.

Searched in this order, the first of a name wins: extra paths (a folder with a manifest, a folder of such folders, or a
bare Python file, whose manifest is inferred from its class), `environments/*/manifest.toml` beside this package,
installed packages with an entry point in `palaestra.environments` (its value is the package that holds the manifest).
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from gym_core.environment import Environment
from gym_core.errors import BadRequest, UnknownName
from gym_core.loading import import_fault, load_class, load_file, named, spec_of
from gym_core.manifest import FILE_NAME, NAME, NAME_RULE, Manifest, read_manifest
from gym_core.nearest import hint

ENTRY_POINTS = "palaestra.environments"
HOME = Path(__file__).resolve().parent.parent / "environments"

log = logging.getLogger("palaestra.registry")


@dataclass(slots=True, frozen=True)
class LoadedEnvironment:
    """An environment ready to be served; `spec` is how a worker process finds the class again."""

    manifest: Manifest
    cls: type[Environment]
    spec: str

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> str:
        return self.cls.version

    @classmethod
    def of(cls, environment: type[Environment]) -> LoadedEnvironment:
        """Of an importable class without a manifest file (tests, embedded use)."""
        named(environment)
        return cls(manifest_of(environment, environment.__module__), environment, spec_of(environment))


class Registry:
    """Manifests by name, alias and published row kind. `broken` says why an installed package could not be read."""

    def __init__(self, found: Iterable[tuple[Manifest, Path]], broken: dict[str, str] | None = None) -> None:
        self.broken = broken or {}
        self._manifests: dict[str, tuple[Manifest, Path]] = {}
        for manifest, path in found:
            self._manifests.setdefault(manifest.name, (manifest, path))
        self._routes = {name: name for name in self._manifests}
        for name, (manifest, _) in self._manifests.items():
            for other in (*manifest.aliases, *manifest.rows):
                self._routes.setdefault(other, name)

    @classmethod
    def discover(cls, paths: Iterable[str | Path] | None = None, home: Path = HOME) -> Registry:
        """Read all manifests. Raises `BadRequest` for a broken one, or an extra path that holds none; an installed
        package that is broken stops nobody: it is logged and kept in `broken`."""
        broken: dict[str, str] = {}
        return cls([*_extra(paths or ()), *_folders(home), *_installed(broken)], broken)

    @classmethod
    def at(cls, *paths: str | Path) -> Registry:
        """What lies at these places and nothing else."""
        return cls(_extra(paths))

    def names(self) -> list[str]:
        return sorted(self._manifests)

    def resolve(self, name: str) -> str:
        """The environment's own name for a name, alias or published row kind. Raises `UnknownName`."""
        if name in self._routes:
            return self._routes[name]
        if name in self.broken:
            raise UnknownName(f"the environment {name!r} cannot be read: {self.broken[name]}", field="environment")
        near = hint(name, self._routes)
        raise UnknownName(
            f"no environment is called {name!r}",
            field="environment",
            hint=near if near.startswith("did") else f"there are: {', '.join(self.names()) or 'none'}",
        )

    def manifest(self, name: str) -> Manifest:
        return self._manifests[self.resolve(name)][0]

    def place(self, name: str) -> Path:
        """The environment's `manifest.toml`, or its Python file where it has no manifest."""
        return self._manifests[self.resolve(name)][1]

    def folder(self, name: str) -> Path:
        """Where the environment's code, README and cases lie."""
        return self.place(name).parent

    def load(self, name: str) -> LoadedEnvironment:
        """Import an environment. Raises `UnknownName`, or `BadRequest` naming the file and line where its code cannot
        be imported, a tool cannot be declared, or class and manifest disagree."""
        manifest, path = self._manifests[self.resolve(name)]
        module = str(path.parent / manifest.module) if manifest.module.endswith(".py") else manifest.module
        spec = f"{module}:{manifest.class_name}"
        try:
            cls = load_class(spec)
        except Exception as error:  # whatever the author's module raises
            raise import_fault(path, error) from error
        if not issubclass(cls, Environment):
            raise BadRequest(f"{path}: {spec} is not an Environment", field="class")
        if cls.name != manifest.name:
            raise BadRequest(f"{path} says {manifest.name!r}, the class says {cls.name!r}", field="name")
        if manifest.version and cls.version != manifest.version:
            raise BadRequest(f"{path} says {manifest.version!r}, the class says {cls.version!r}", field="version")
        try:
            cls.tool_specs()
        except ValueError as error:
            raise BadRequest(f"{path}: {error}", field="tool") from None
        return LoadedEnvironment(manifest, cls, spec)


def manifest_of(cls: type[Environment], module: str) -> Manifest:
    """The manifest that a class without one would have."""
    if not NAME.match(cls.name):
        raise BadRequest(f"`name` of {cls.__qualname__} must be {NAME_RULE}, not {cls.name!r}", field="name")
    return Manifest(
        name=cls.name,
        module=module,
        class_name=cls.__qualname__,
        version=cls.version,
        description=(cls.__doc__ or "").strip().partition("\n")[0],
    )


def infer(path: Path) -> Manifest:
    """The manifest of a bare file: that of the one environment it defines. Imports it.

    Raises `BadRequest` where it cannot be imported, or does not define exactly one (bases of others left aside).
    """
    try:
        module = load_file(path)
    except Exception as error:  # whatever the author's module raises
        raise import_fault(path, error) from error
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Environment) and value.__module__ == module.__name__
    ]
    leaves = [cls for cls in own if not any(cls is not other and issubclass(other, cls) for other in own)]
    if len(leaves) != 1:
        found = ", ".join(cls.__name__ for cls in leaves) or "none"
        raise BadRequest(
            f"{path} must define one Environment, it defines {found}",
            field=str(path),
            hint=f"several of them want a folder each, with a {FILE_NAME}: `palaestra env new NAME`",
        )
    return manifest_of(named(leaves[0]), path.name)


def _extra(paths: Iterable[str | Path]) -> Iterator[tuple[Manifest, Path]]:
    for path in map(Path, paths):
        if path.suffix == ".py":
            yield _file(path)
            continue
        if path.name == FILE_NAME:
            path = path.parent
        found = (
            [(read_manifest(path / FILE_NAME), path / FILE_NAME)] if (path / FILE_NAME).is_file() else [*_folders(path)]
        )
        if not found:
            raise BadRequest(f"{path} holds no {FILE_NAME} and no folder with one", field="paths")
        yield from found


def _file(path: Path) -> tuple[Manifest, Path]:
    """A Python file, by the manifest beside it where that one means this file."""
    if not path.is_file():
        raise BadRequest(f"there is no file {path}", field="paths")
    beside = path.parent / FILE_NAME
    if beside.is_file():
        manifest = read_manifest(beside)
        if manifest.module == path.name or manifest.module.endswith(f".{path.parent.name}.{path.stem}"):
            return manifest, beside
    return infer(path), path


def _folders(root: Path) -> Iterator[tuple[Manifest, Path]]:
    for path in sorted(root.glob(f"*/{FILE_NAME}")):
        yield read_manifest(path), path


def _installed(broken: dict[str, str]) -> Iterator[tuple[Manifest, Path]]:
    for point in entry_points(group=ENTRY_POINTS):
        try:
            yield from _package(point)
        except BadRequest as error:
            broken[point.name] = error.message
        except Exception as error:  # looking for `a.b` imports `a`: whatever that package raises
            broken[point.name] = f"{point.value}: {type(error).__name__}: {error}"
        if point.name in broken:
            log.warning("the installed environment %r is left out: %s", point.name, broken[point.name])


def _package(point: EntryPoint) -> Iterator[tuple[Manifest, Path]]:
    spec = importlib.util.find_spec(point.value)
    roots = list((spec.submodule_search_locations if spec else None) or ())
    if not roots:
        raise BadRequest(f"there is no package {point.value!r}", field=point.name)
    for root in roots:
        path = Path(root) / FILE_NAME
        yield read_manifest(path), path
