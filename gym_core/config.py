"""Settings in layers, each overriding the one before: defaults < TOML file < environment < flags.

    config = load(AgentConfig, file="palaestra.toml", section="agent", overrides={"port": 8100})
    print(show(config))          # every value and where it comes from, secrets masked

`[agent] port` in the file, `PALAESTRA_AGENT_PORT` in the environment and `{"port": …}` in the flags are one setting;
a nested record's key is written `limits.max_steps`, `PALAESTRA_AGENT_LIMITS_MAX_STEPS`. Lists in text are
`a,b` or JSON, tables `name=value,name=value` or JSON.
"""

from __future__ import annotations

import os
import tomllib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from gym_core import auth
from gym_core.config_values import Misfit, fit
from gym_core.errors import BadRequest
from gym_core.nearest import nearest

T = TypeVar("T", bound=msgspec.Struct)

DEFAULT = "default"
FLAG = "flag"


class Given(NamedTuple):
    """A value and the layer it comes from; `text` when it was written as text and has to be read as its type."""

    value: Any
    source: str
    text: bool


class _Field(NamedTuple):
    kind: Any
    default: Any  # msgspec.NODEFAULT when a value is needed


_sources: OrderedDict[int, tuple[msgspec.Struct, dict[str, str]]] = OrderedDict()
_REMEMBERED = 64


def load(
    kind: type[T],
    file: str | Path | None = None,
    section: str | None = None,
    env_prefix: str = "PALAESTRA_",
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> T:
    """Settings of `kind` from all layers. An override of None is a flag that was not given.

    Raises `BadRequest` that names the file (or variable, or flag), the key and the way out: for a file that cannot be
    read, a key nobody knows, a value of the wrong type, a needed value that is missing, a record that refuses itself.
    """
    fields = _fields(kind)
    given: dict[str, Given] = {}
    if file is not None:
        given.update(_from_file(Path(file), section, kind, fields))
    given.update(_from_environment(os.environ if environ is None else environ, env_prefix, section, fields))
    given.update(_flatten(overrides or {}, FLAG, section, kind, fields))
    values: dict[str, Any] = {}
    for key, field in fields.items():
        if key in given:
            values[key] = _value(key, field, given[key], section)
        elif field.default is msgspec.NODEFAULT:
            raise _missing(key, section, env_prefix)
    config = _build(kind, values, section, given)
    _sources[id(config)] = (config, {key: item.source for key, item in given.items()})
    while len(_sources) > _REMEMBERED:
        _sources.popitem(last=False)
    return config


def sources(config: msgspec.Struct) -> dict[str, str]:
    """Where each key of a loaded config comes from: `default`, a file, a variable, `flag`; dotted keys."""
    remembered = _sources.get(id(config), (config, {}))[1]
    return {key: remembered.get(key, DEFAULT) for key in _fields(type(config))}


def show(config: msgspec.Struct) -> str:
    """One line per setting, `key = value  # source`, in TOML's manner; secrets are masked."""
    lines = []
    for key, source in sources(config).items():
        value: Any = config
        for part in key.split("."):
            value = getattr(value, part)
        if auth.is_secret_name(key) and value:
            value = auth.MASK
        text = msgspec.json.encode(auth.redact(msgspec.to_builtins(value, enc_hook=str))).decode()
        lines.append((f"{key} = {text}", source))
    width = min(60, max((len(line) for line, _ in lines), default=0))
    return "\n".join(f"{line:<{width}}  # {source}" for line, source in lines)


def _fields(kind: type[msgspec.Struct], prefix: str = "") -> dict[str, _Field]:
    """Every setting of a record by its dotted key; a record inside a record gives its own keys."""
    found: dict[str, _Field] = {}
    for info in msgspec.structs.fields(kind):
        key = prefix + info.name
        if isinstance(info.type, type) and issubclass(info.type, msgspec.Struct):
            found.update(_fields(info.type, key + "."))
            continue
        default = info.default
        if info.default_factory is not msgspec.NODEFAULT:
            default = info.default_factory()
        found[key] = _Field(info.type, default)
    return found


def _from_file(path: Path, section: str | None, kind: type, fields: Mapping[str, _Field]) -> dict[str, Given]:
    try:
        table: Any = tomllib.loads(path.read_text())
    except OSError as error:
        raise BadRequest(f"cannot read {path}: {error.strerror}", field="config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path} is not TOML: {error}", field="config") from None
    for name in section.split(".") if section else ():
        if not isinstance(table, dict):
            raise BadRequest(f"{path}: [{section}] must be a table", field=section or "")
        if name not in table:
            close = nearest(name, table, 1, 0.75)
            if close:
                raise BadRequest(
                    f"{path}: no section [{name}]", field=close[0], hint=f"rename [{close[0]}] to [{name}]"
                )
            return {}
        table = table[name]
    if not isinstance(table, dict):
        raise BadRequest(f"{path}: [{section}] must be a table", field=section or "")
    return _flatten(table, str(path), section, kind, fields)


def _flatten(
    table: Mapping[str, Any],
    source: str,
    section: str | None,
    kind: type,
    fields: Mapping[str, _Field],
    prefix: str = "",
) -> dict[str, Given]:
    """Dotted keys of a nested table. Raises for a key that the record does not have."""
    found: dict[str, Given] = {}
    for name, value in table.items():
        key = prefix + name
        if key in fields:
            if value is not None:
                found[key] = Given(value, source, source is FLAG and isinstance(value, str))
        elif any(known.startswith(key + ".") for known in fields):
            if not isinstance(value, Mapping):
                raise BadRequest(
                    f"{source}: `{_full(section, key)}` must be a table, not {value!r}", field=_full(section, key)
                )
            found.update(_flatten(value, source, section, kind, fields, key + "."))
        else:
            close = nearest(key, fields, 1)
            hint = f"did you mean `{close[0]}`?" if close else f"it knows {', '.join(fields)}"
            raise BadRequest(f"{source}: unknown key `{_full(section, key)}`", field=_full(section, key), hint=hint)
    return found


def _from_environment(
    environ: Mapping[str, str], prefix: str, section: str | None, fields: Mapping[str, _Field]
) -> dict[str, Given]:
    """Values from variables. One that is nearly a name of ours is a slip; other servers' variables are left alone."""
    start = prefix + (section.replace(".", "_").upper() + "_" if section else "")
    names = {start + key.replace(".", "_").upper(): key for key in fields}
    found = {}
    for name, text in environ.items():
        if name in names:
            found[names[name]] = Given(text, name, True)
        elif section and name.startswith(start):
            close = nearest(name.removeprefix(start), [n.removeprefix(start) for n in names], 1, 0.75)
            if close:
                raise BadRequest(f"unknown variable {name}", field=name, hint=f"did you mean {start}{close[0]}?")
    return found


def _value(key: str, field: _Field, given: Given, section: str | None) -> Any:
    try:
        return fit(given.value, field.kind, given.text)
    except Misfit as misfit:
        full = _full(section, key) + misfit.path
        shown = auth.MASK if auth.is_secret_name(key) else repr(given.value)[:200]
        hint = misfit.hint
        if not hint and field.default not in (msgspec.NODEFAULT, None, ""):
            hint = f"for example {key} = {msgspec.json.encode(field.default, enc_hook=str).decode()}"
        raise BadRequest(
            f"{given.source}: `{full}` is {shown}, but must be {misfit.expected}", field=full, hint=hint
        ) from None


def _missing(key: str, section: str | None, env_prefix: str) -> BadRequest:
    full = _full(section, key)
    variable = env_prefix + full.replace(".", "_").upper()
    return BadRequest(f"`{full}` needs a value", field=full, hint=f"set {variable}, or `{key}` in the file")


def _build(kind: type[T], values: Mapping[str, Any], section: str | None, given: Mapping[str, Given]) -> T:
    """The record, inner records first; what its `__post_init__` refuses is told with where the value came from."""
    arguments: dict[str, Any] = {}
    for info in msgspec.structs.fields(kind):
        if isinstance(info.type, type) and issubclass(info.type, msgspec.Struct):
            start = info.name + "."
            inner = {key.removeprefix(start): value for key, value in values.items() if key.startswith(start)}
            from_inner = {key.removeprefix(start): item for key, item in given.items() if key.startswith(start)}
            arguments[info.name] = _build(info.type, inner, _full(section, info.name), from_inner)
        elif info.name in values:
            arguments[info.name] = values[info.name]
    try:
        return kind(**arguments)
    except ValueError as error:
        named = [key for key in given if key in str(error)]
        hint = f"`{named[0]}` comes from {given[named[0]].source}" if named else ""
        where = f"[{section}] " if section else ""
        raise BadRequest(
            f"{where}{error}", field=_full(section, named[0]) if named else section or "", hint=hint
        ) from None


def _full(section: str | None, key: str) -> str:
    return f"{section}.{key}" if section else key
