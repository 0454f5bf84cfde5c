"""What an environment says of itself without being imported: `manifest.toml` beside its code.

name = "maths"
module = "environments.maths.environment"      # or a file beside the manifest: "environment.py"
class = "Maths"
description = "Solve a problem; the answer stands in the last box."
licence = "Apache-2.0"
aliases = ["math_with_judge_simple_agent"]     # published agent and server names that route here
rows = ["math_with_judge"]                     # published row kinds that it ingests
network = "none"                               # or "outbound"
floor = 0.25                                   # what guessing earns where that is more than the minimum
floors = {near_miss = 1.0}                     # the same for one panel of the quality gate (docs/quality_gate.md)
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from gym_core.errors import BadRequest

FILE_NAME = "manifest.toml"
NAME = re.compile(r"^[a-z][a-z0-9_-]{0,63}$")
NAME_RULE = "lower case letters, digits, '_' and '-', starting with a letter"
NETWORKS = ("none", "outbound")


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Identity, place and promises of one environment. `module` is importable, or a `.py` file beside the manifest.

    `floor` and `floors` are rewards that a policy may earn without knowing anything, justified in the README; None is
    the minimum of the reward range.
    """

    name: str
    module: str
    class_name: str = msgspec.field(name="class")
    version: str = ""
    description: str = ""
    licence: str = ""
    aliases: list[str] = []
    rows: list[str] = []
    network: str = "none"
    floor: float | None = None
    floors: dict[str, float] = {}


def read_manifest(path: Path) -> Manifest:
    """The manifest in this file. Raises `BadRequest` naming the file and the key that does not fit."""
    try:
        manifest = msgspec.toml.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise BadRequest(f"cannot read {path}: {error.strerror}", field=str(path)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path}: {error}", field=str(path), hint="see gym_core/manifest.py for an example") from None
    if not NAME.match(manifest.name):
        raise BadRequest(f"{path}: `name` must be {NAME_RULE}, not {manifest.name!r}", field="name")
    return manifest
