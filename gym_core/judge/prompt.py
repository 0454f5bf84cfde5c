"""Templates filled in one pass: only the names that are given are replaced, and what is put in is never read again.

`{` in a template or in a text means nothing else, so neither LaTeX nor JSON nor a candidate's `{gold}` can break a
prompt or pull a field into another place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_DOUBLED = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")


def fill(template: str, fields: Mapping[str, str], *, doubled: bool = False) -> str:
    """The template with `{name}` replaced for every name in `fields`; other braces stay as they are.

    With `doubled` the template was written for `str.format` (rows that bring their own): `{{` and `}}` are one brace.
    """

    def put(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return found[0][0]
        return fields.get(name, found[0])

    return (_DOUBLED if doubled else _NAME).sub(put, template)


def names(template: str) -> frozenset[str]:
    """The `{name}`s of a template."""
    return frozenset(_NAME.findall(template))
