"""Which environments there are, found by their manifests; none of them is imported before it is loaded.

Searched in this order, the first of a name wins: extra paths (a folder with a manifest, or a folder of such folders),
`environments/*/manifest.toml` beside this package, installed packages with an entry point in `palaestra.environments`
(its value is the package that holds the manifest).
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from gym_core.environment import Environment
from gym_core.errors import BadRequest, UnknownName
from gym_core.loading import load_class, spec_of
from gym_core.manifest import FILE_NAME, Manifest, read_manifest

ENTRY_POINTS = "palaestra.environments"
HOME = Path(__file__).resolve().parent.parent / "environments"


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
        described = (environment.__doc__ or "").strip().partition("\n")[0]
        manifest = Manifest(
            name=environment.name,
            module=environment.__module__,
            class_name=environment.__qualname__,
            version=environment.version,
            description=described,
        )
        return cls(manifest, environment, spec_of(environment))


class Registry:
    """Manifests by name, alias and published row kind."""

    def __init__(self, found: Iterable[tuple[Manifest, Path]]) -> None:
        self._manifests: dict[str, tuple[Manifest, Path]] = {}
        for manifest, path in found:
            self._manifests.setdefault(manifest.name, (manifest, path))
        self._routes = {name: name for name in self._manifests}
        for name, (manifest, _) in self._manifests.items():
            for other in (*manifest.aliases, *manifest.rows):
                self._routes.setdefault(other, name)

    @classmethod
    def discover(cls, paths: Iterable[str | Path] | None = None, home: Path = HOME) -> Registry:
        """Read all manifests. Raises `BadRequest` for a broken one, or an extra path that holds none."""
        return cls([*_extra(paths or ()), *_folders(home), *_installed()])

    def names(self) -> list[str]:
        return sorted(self._manifests)

    def resolve(self, name: str) -> str:
        """The environment's own name for a name, alias or published row kind. Raises `UnknownName`."""
        if name in self._routes:
            return self._routes[name]
        near = difflib.get_close_matches(name, self._routes, n=3, cutoff=0.5)
        choice = f"did you mean {', '.join(near)}?" if near else f"there are: {', '.join(self.names()) or 'none'}"
        raise UnknownName(f"no environment is called {name!r}", field="environment", hint=choice)

    def manifest(self, name: str) -> Manifest:
        return self._manifests[self.resolve(name)][0]

    def folder(self, name: str) -> Path:
        """Where the environment's manifest, README and cases lie."""
        return self._manifests[self.resolve(name)][1].parent

    def load(self, name: str) -> LoadedEnvironment:
        """Import an environment. Raises `UnknownName`, or `BadRequest` where class and manifest disagree."""
        manifest, path = self._manifests[self.resolve(name)]
        module = str(path.parent / manifest.module) if manifest.module.endswith(".py") else manifest.module
        spec = f"{module}:{manifest.class_name}"
        cls = load_class(spec)
        if not issubclass(cls, Environment):
            raise BadRequest(f"{path}: {spec} is not an Environment", field="class")
        if cls.name != manifest.name:
            raise BadRequest(f"{path} says {manifest.name!r}, the class says {cls.name!r}", field="name")
        if manifest.version and cls.version != manifest.version:
            raise BadRequest(f"{path} says {manifest.version!r}, the class says {cls.version!r}", field="version")
        return LoadedEnvironment(manifest, cls, spec)


def _extra(paths: Iterable[str | Path]) -> Iterator[tuple[Manifest, Path]]:
    for path in map(Path, paths):
        found = (
            [(read_manifest(path / FILE_NAME), path / FILE_NAME)] if (path / FILE_NAME).is_file() else [*_folders(path)]
        )
        if not found:
            raise BadRequest(f"{path} holds no {FILE_NAME} and no folder with one", field="paths")
        yield from found


def _folders(root: Path) -> Iterator[tuple[Manifest, Path]]:
    for path in sorted(root.glob(f"*/{FILE_NAME}")):
        yield read_manifest(path), path


def _installed() -> Iterator[tuple[Manifest, Path]]:
    for point in entry_points(group=ENTRY_POINTS):
        spec = importlib.util.find_spec(point.value)
        for root in (spec.submodule_search_locations if spec else None) or ():
            path = Path(root) / FILE_NAME
            yield read_manifest(path), path
