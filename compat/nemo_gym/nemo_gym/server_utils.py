"""Requests to servers by their name, as a head tells their addresses."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.error
import urllib.request
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import yaml

from nemo_gym.global_config import HEAD_SERVER_KEY_NAME, get_first_server_config_dict, get_global_config_dict, ours

__all__ = [
    "HEAD_SERVER_KEY_NAME",
    "BaseServerConfig",
    "ServerClient",
    "get_response_json",
    "raise_for_status",
    "request",
    "setup_server_client",
]

DEFAULT_HEAD_SERVER_PORT = 11000
HEAD_S = 30.0
ROLLOUT_S = 7200.0
CONNECT_TRIES = 3

_sessions: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = weakref.WeakKeyDictionary()
_urls: dict[int, str] = {}
"""Heads that were started here, by the port that the trainer named; they are on loopback, whatever host it named."""


@dataclass
class BaseServerConfig:
    host: str
    port: int


def head_listens_at(config: BaseServerConfig, url: str) -> None:
    """Remember where the head of this configuration is to be found."""
    _urls[int(config.port)] = url


def head_url(config: BaseServerConfig | None) -> str:
    """The address of a head: one that was started here, the one named, or `PALAESTRA_HEAD`."""
    if config is not None and int(config.port) in _urls:
        return _urls[int(config.port)]
    if named := os.environ.get("PALAESTRA_HEAD"):
        return named.rstrip("/")
    if config is None:
        given = get_global_config_dict().get(HEAD_SERVER_KEY_NAME) or {}
        config = BaseServerConfig(given.get("host", "127.0.0.1"), given.get("port", DEFAULT_HEAD_SERVER_PORT))
    return f"http://{config.host}:{config.port}"


def read_configuration(url: str, timeout_s: float = HEAD_S) -> dict[str, Any]:
    """The names that a head serves. Raises ValueError where nobody answers, or not with a configuration."""
    asked = urllib.request.Request(f"{url}/global_config_dict_yaml", headers=_bearer())
    try:
        with urllib.request.urlopen(asked, timeout=timeout_s) as reply:
            config = yaml.safe_load(json.loads(reply.read()))
    except urllib.error.HTTPError as error:
        raise ValueError(f"the head at {url} answered {error.code}") from error
    except OSError as error:
        raise ValueError(f"no head answers at {url}: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"the head at {url} answered no configuration")
    return config


@dataclass
class ServerClient:
    """Posts to servers by name."""

    head_server_config: BaseServerConfig | None
    global_config_dict: dict[str, Any]

    @classmethod
    def load_from_global_config(cls, head_server_config: BaseServerConfig | None = None) -> ServerClient:
        """Reads the head's configuration. Blocks; raises ValueError where no head answers."""
        return cls(head_server_config, read_configuration(head_url(head_server_config)))

    async def request(self, server_name: str, url_path: str, method: str, **options: Any) -> aiohttp.ClientResponse:
        """A whole reply, whatever its status. Raises KeyError for a name that is not served."""
        server = get_first_server_config_dict(self.global_config_dict, server_name)
        return await request(method, f"http://{server['host']}:{server['port']}{url_path}", **options)

    async def get(self, server_name: str, url_path: str, **options: Any) -> aiohttp.ClientResponse:
        return await self.request(server_name, url_path, "GET", **options)

    async def post(self, server_name: str, url_path: str, **options: Any) -> aiohttp.ClientResponse:
        return await self.request(server_name, url_path, "POST", **options)


def setup_server_client(head_server_config: BaseServerConfig | None = None) -> ServerClient:
    return ServerClient.load_from_global_config(head_server_config)


async def request(method: str, url: str, timeout_s: float | None = None, **options: Any) -> aiohttp.ClientResponse:
    """One request, read to its end and within `timeout_s` (`palaestra.timeout_s`, else two hours); tried again only
    where no connection was made."""
    headers = {**_bearer(), **(options.pop("headers", None) or {})}
    timeout = aiohttp.ClientTimeout(total=timeout_s or float(ours().get("timeout_s", ROLLOUT_S)))
    for attempt in range(CONNECT_TRIES):
        try:
            reply = await _session().request(method, url, headers=headers, timeout=timeout, **options)
            await reply.read()
            return reply
        except aiohttp.ClientConnectorError:
            if attempt == CONNECT_TRIES - 1:
                raise
            await asyncio.sleep(0.5 * 2**attempt)
    raise AssertionError("the last try returns or raises")


async def raise_for_status(response: aiohttp.ClientResponse, content: bytes | None = None) -> None:
    """Raises aiohttp's error with the body beside it as `response_content`."""
    if response.ok:
        return
    body = await response.read() if content is None else content
    try:
        response.raise_for_status()
    except aiohttp.ClientResponseError as error:
        # What aiohttp keeps of request and reply cannot be pickled, and a trainer's actors send errors to each other.
        said = aiohttp.ClientResponseError(
            _Asked(str(error.request_info.real_url), error.request_info.method),  # type: ignore[arg-type]
            (),
            status=error.status,
            message=error.message,
        )
        said.response_content = body  # type: ignore[attr-defined]
        raise said from None


@dataclass(frozen=True)
class _Asked:
    """Which request failed."""

    real_url: str
    method: str


async def get_response_json(response: aiohttp.ClientResponse) -> Any:
    return json.loads(await response.read())


def _session() -> aiohttp.ClientSession:
    """One pool of connections per event loop; it ends with its loop."""
    loop = asyncio.get_running_loop()
    session = _sessions.get(loop)
    if session is None or session.closed:
        connector = aiohttp.TCPConnector(limit=0)
        session = _sessions[loop] = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
    return session


async def close_session() -> None:
    """Give this loop's connections back; a later request opens new ones."""
    session = _sessions.pop(asyncio.get_running_loop(), None)
    if session is not None:
        await session.close()


def _bearer() -> Mapping[str, str]:
    token = os.environ.get("PALAESTRA_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}
