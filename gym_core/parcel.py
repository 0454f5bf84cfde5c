"""Several requests to one peer in one HTTP message: what its first lines say, on both ends.

    client: requests that wait at the same moment ─▶ POST /parcel ─▶ frame, frame, …      (parcel_client.py)
    server: each through the door and its handler as if it had come alone                  (parcel_route.py)
    client: each gets its reply when that is there ◀─ frame ◀─ frame ◀─ …

A hop of its own costs a request 0.3 to 0.7 ms of both processes, most of it HTTP; a place in a parcel a tenth of that.
A server of ours says by a header of every reply that it takes parcels; any other peer never sees one.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

PATH = "/parcel"
LEAVE_PATH = "/parcel/leave"

TAKES_PARCELS = "X-Palaestra-Parcel"
"""Header of a reply: this server takes parcels, and is so many processes that share them. Header of a parcel: its
name, by which requests in it are left."""

MAX_REQUESTS = 64
"""In one parcel. More that wait at once travel in several, so that servers behind one address share them."""

MAX_BYTES = 1 << 20
"""Of all bodies of one parcel; a request with more than a part of that travels alone."""

_Number = Annotated[int, msgspec.Meta(ge=0, lt=MAX_REQUESTS)]


class Asked(msgspec.Struct):
    """Head of one request's frame; the blob is its body. `path` begins at the server's root, with the query."""

    number: _Number
    method: str
    path: str
    headers: dict[str, str] = {}


class Told(msgspec.Struct):
    """Head of one reply's frame; the blob is its body."""

    number: _Number
    status: Annotated[int, msgspec.Meta(ge=100, le=599)]
    headers: dict[str, str] = {}


class Left(msgspec.Struct):
    """Body of POST /parcel/leave: nobody waits for the answers to these requests of the parcel `name` any more."""

    name: str
    numbers: list[int]
