"""What both clients say and hear, without a transport: requests as data, replies as typed values, when to ask again.

A call is repeated when nobody was reached, on 429 and 503, and on a broken connection where repeating is safe: every
rollout has an id from here on, and asking for it again joins the one under way or finds it stored.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypedDict, TypeVar

import httpx
import msgspec

from gym_core.client import Backoff
from gym_core.contracts import RUN_KEY, RunOptions
from gym_core.errors import BadRequest, Busy, DeadlineExceeded, PalaestraError, Unavailable, misfit
from gym_core.http_reply import Response
from gym_core.sdk.played import Played, open_frame
from gym_core.seeds import derive
from gym_core.tokens import FRAME_TYPE

T = TypeVar("T")
Row = dict[str, Any]

CONNECT_S = 5.0
LATE_S = 60.0
"""What a call may take beyond the deadline of the rollout that it waits for."""


class Options(TypedDict, total=False):
    """What may be said of a rollout (`RunOptions`); what is left out is the server's to choose."""

    rollout_id: str
    run_id: str
    group_id: str
    group_size: int
    repeat: int
    seed: int
    step: int
    deadline_s: float
    max_steps: int | None
    grading: str
    sampling: dict[str, Any]
    labels: dict[str, str]


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its reply is read. `timeout_s` bounds the silence of the server."""

    method: str
    path: str
    read: Callable[[Response], T]
    timeout_s: float
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True

    def request(self, client: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        content = None if self.body is None else msgspec.json.encode(self.body)
        timeout = httpx.Timeout(self.timeout_s, connect=CONNECT_S)
        return client.build_request(self.method, self.path, content=content, headers=self.headers, timeout=timeout)


def environments_call(timeout_s: float) -> Call[list[dict[str, Any]]]:
    return Call("GET", "/environments", lambda reply: reply.json()["environments"], timeout_s)


def tasks_call(environment: str, asked: Mapping[str, Any], timeout_s: float) -> Call[list[Row]]:
    return Call(
        "POST", f"/environments/{environment}/tasks", lambda reply: reply.json()["tasks"], timeout_s, dict(asked)
    )


def run_call(row: Row, options: Options) -> Call[Played]:
    """One rollout as a frame."""
    whole = with_options(row, options)
    timeout_s = _deadline_s(whole) + LATE_S
    return Call("POST", "/run", lambda reply: open_frame(*reply.frame()), timeout_s, whole, {"Accept": FRAME_TYPE})


def rollouts_call(rows: Sequence[Row]) -> Call[None]:
    """A batch; its reply is a stream of frames. Not repeatable once it has begun."""
    if not rows:
        raise BadRequest("there are no rows to play", field="rows")
    timeout_s = max(map(_deadline_s, rows)) + LATE_S
    headers = {"Accept": FRAME_TYPE}
    return Call("POST", "/rollouts", lambda _: None, timeout_s, {"rows": list(rows)}, headers, repeatable=False)


def rollout_call(rollout_id: str, timeout_s: float) -> Call[Played]:
    headers = {"Accept": FRAME_TYPE}
    return Call("GET", f"/rollouts/{rollout_id}", lambda reply: open_frame(*reply.frame()), timeout_s, None, headers)


def cancel_call(run_id: str | None, rollout_ids: Iterable[str], timeout_s: float) -> Call[int]:
    body = {"run_id": run_id, "rollout_ids": list(rollout_ids)}
    return Call("POST", "/cancel", lambda reply: int(reply.json()["cancelled"]), timeout_s, body)


def with_options(row: Row, options: Options) -> Row:
    """The row with these options over those that it carries, and an id. Raises `BadRequest` with the option's name."""
    merged = {"rollout_id": uuid.uuid4().hex, **row.get(RUN_KEY, {}), **options}
    try:
        msgspec.convert(merged, RunOptions)
    except msgspec.ValidationError as error:
        what, path = misfit(error)
        raise BadRequest(what, field=f"{RUN_KEY}{path}") from None
    return {**row, RUN_KEY: merged}


def members(rows: Iterable[Row], size: int, options: Options) -> list[Row]:
    """Each row `size` times as a group of its own; seeds follow from `seed`, the row's place and the repeat."""
    if size < 1:
        raise BadRequest(f"a group has at least one member, not {size}", field="size")
    run_id = options.get("run_id") or uuid.uuid4().hex[:12]
    root = options.get("seed", run_id)
    found = []
    for number, row in enumerate(rows):
        group_id = f"{run_id}-{number}"
        for repeat in range(size):
            own: Options = {
                **options,
                "run_id": run_id,
                "group_id": group_id,
                "group_size": size,
                "repeat": repeat,
                "seed": derive(root, number, repeat),
                "rollout_id": f"{group_id}-{repeat}",
            }
            found.append(with_options(row, own))
    return found


def _deadline_s(row: Row) -> float:
    return float(row.get(RUN_KEY, {}).get("deadline_s", RunOptions().deadline_s))


def checked_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise BadRequest(f"{url!r} is not an address", field="agent_url", hint="use http://host:port")
    return url


def headers_of(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


class Attempts:
    """Decides after each failure whether one call is worth another try, and after how long."""

    def __init__(self, retries: int, backoff: Backoff, repeatable: bool) -> None:
        self._left = retries
        self._tried = 0
        self._backoff = backoff
        self._repeatable = repeatable

    def wait_s(self, error: PalaestraError, reached: bool) -> float:
        """Seconds until the next try. Raises `error` where there should be none; `reached`: the server took it."""
        harmless = isinstance(error, Busy) or (isinstance(error, Unavailable) and (self._repeatable or not reached))
        if self._left <= 0 or not harmless:
            raise error
        wait_s = self._backoff.wait_s(self._tried, error.retry_after_s)
        self._left -= 1
        self._tried += 1
        return wait_s


def whole(reply: httpx.Response) -> Response:
    """A reply that was read to its end."""
    return Response(reply.status_code, reply.headers, reply.content, str(reply.url))


def translated(error: httpx.HTTPError, url: object) -> tuple[PalaestraError, bool]:
    """Our error for one of httpx, and whether the server may have seen the request."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return Unavailable(f"nobody answers at {url}: {error}", hint="is the agent server running?"), False
    if isinstance(error, httpx.TimeoutException):
        return DeadlineExceeded(f"{url} did not answer in time"), True
    return Unavailable(f"the connection to {url} broke: {error or type(error).__name__}"), True
