"""The description of a quantised checkpoint that vLLM, SGLang and ModelOpt read: `quantization_config` in config.json.

ModelOpt's own tools write the same facts to `hf_quant_config.json`, one level deeper and under older names; both are
written, either is read. `ignore` (`exclude_modules`) holds module names, and in other people's files patterns with *.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from model.checkpoint_folder import read_json
from model.config import HybridConfig

LEGACY = "hf_quant_config.json"
_STATIC_E4M3 = {"dynamic": False, "num_bits": 8, "type": "float"}


class Described(NamedTuple):
    """What a checkpoint says of itself."""

    excluded: tuple[str, ...]
    cache: bool  # the key-value cache is FP8

    def excludes(self, name: str) -> bool:
        return any(name == pattern or fnmatchcase(name, pattern) for pattern in self.excluded)


def describe(directory: Path, excluded: Collection[str], cache: bool) -> None:
    """Add the description to a checkpoint's folder that already has its config.json."""
    names = list(excluded)
    producer = {"name": "palaestra", "version": "1"}
    file = directory / "config.json"
    config = json.loads(file.read_text())
    config["quantization_config"] = {
        "quant_method": "modelopt",
        "quant_algo": "FP8",
        "kv_cache_quant_algo": "FP8" if cache else None,
        "kv_cache_scheme": _STATIC_E4M3 if cache else None,
        "config_groups": {
            "group_0": {"input_activations": _STATIC_E4M3, "weights": _STATIC_E4M3, "targets": ["Linear"]}
        },
        "ignore": names,
        "exclude_modules": names,
        "producer": producer,
    }
    file.write_text(json.dumps(config, indent=2) + "\n")
    legacy = {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8" if cache else None, "exclude_modules": names}
    (directory / LEGACY).write_text(json.dumps({"producer": producer, "quantization": legacy}, indent=2) + "\n")


def read_shape(directory: Path) -> HybridConfig:
    """The model's own part of config.json. Raises FileNotFoundError, or ValueError that names the field."""
    file = directory / "config.json"
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist")
    return HybridConfig.from_hf({name: value for name, value in _read(file).items() if name != "quantization_config"})


def is_described(directory: Path) -> bool:
    """Whether a checkpoint's folder says that it is quantised, in whatever way."""
    return (directory / LEGACY).is_file() or bool(_read(directory / "config.json").get("quantization_config"))


def read_description(directory: Path) -> Described:
    """Raises ValueError that names file and field when there is no description, or one of another kind than FP8."""
    file = directory / "config.json"
    found = _read(file).get("quantization_config")
    if found is None:
        file = directory / LEGACY
        found = _read(file).get("quantization")
    if not isinstance(found, Mapping):
        raise ValueError(
            f"{directory} is not a quantised checkpoint: neither config.json has quantization_config nor is there a "
            f"{LEGACY}"
        )
    method, algo = found.get("quant_method", "modelopt"), found.get("quant_algo")
    if method != "modelopt" or algo != "FP8":
        raise ValueError(
            f"{file}: quant_method {method!r} with quant_algo {algo!r} is not supported, only modelopt FP8"
        )
    excluded = found.get("ignore", found.get("exclude_modules"))
    if not isinstance(excluded, list) or not all(isinstance(name, str) for name in excluded):
        raise ValueError(f"{file}: ignore (exclude_modules) must be a list of module names, got {excluded!r}")
    return Described(tuple(excluded), _cache_is_fp8(found, file))


def _cache_is_fp8(found: Mapping[str, Any], file: Path) -> bool:
    algo, scheme = found.get("kv_cache_quant_algo"), found.get("kv_cache_scheme")
    if algo not in (None, "FP8"):
        raise ValueError(f"{file}: kv_cache_quant_algo {algo!r} is not supported, only FP8 or null")
    return algo == "FP8" or (isinstance(scheme, Mapping) and scheme.get("num_bits") == 8)


def _read(file: Path) -> dict[str, Any]:
    return read_json(file) if file.is_file() else {}
