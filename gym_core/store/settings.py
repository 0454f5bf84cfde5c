"""What a database knows of itself: where its token segments lie, unless that follows from its path.

A PostgreSQL database has no folder beside it. The first to open it says where segments go: `?blobs=` of the address,
else `PALAESTRA_BLOBS`, else a folder of its own under the user's data; those who come later find it here. An address
that names `blobs` is believed for its own process: the same folder may be mounted elsewhere on another machine.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from sqlalchemy import Connection, insert, select

from gym_core.store.address import Address
from gym_core.store.models import SettingRow

BLOBS = "blobs"


def blobs_of(connection: Connection, address: Address) -> Path:
    """The folder of the token segments; kept in the database when it is chosen here."""
    if address.path is not None and address.blobs is not None:
        return address.blobs
    kept = connection.execute(select(SettingRow.value).where(SettingRow.name == BLOBS)).scalar()
    if kept is None:
        kept = str(address.blobs or os.environ.get("PALAESTRA_BLOBS") or _own_folder(address))
        connection.execute(insert(SettingRow), {"name": BLOBS, "value": str(Path(kept).absolute())})
    return address.blobs or Path(kept).absolute()


def _own_folder(address: Address) -> Path:
    """A new name each time: a database that was dropped and made again must not find its predecessor's segments."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "palaestra" / "blobs" / f"{address.url.database or 'store'}-{secrets.token_hex(4)}"
