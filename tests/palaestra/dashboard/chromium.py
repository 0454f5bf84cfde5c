"""A headless Chromium, driven over its DevTools protocol: open a page, run a script in it, wait for a condition, look.

chromium ─ --remote-debugging-port=0 ─▶ DevToolsActivePort ─▶ websocket ─▶ Target.createTarget ─▶ Runtime.evaluate
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

BINARIES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-port=0",
)
PATIENCE_S = 60.0
"""A healthy page answers in far less; this is when a test gives up on a broken one."""


def find() -> str | None:
    return next((found for name in BINARIES if (found := shutil.which(name))), None)


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._session = ""
        self._number = 0
        self.complaints: list[str] = []
        """What the page logged as an error, scripts that failed, and what its policy refused."""

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its result. Raises RuntimeError with what the browser says."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        await self._socket.send_json(message)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                said = await self._socket.receive_json()
                if said.get("id") == self._number:
                    if "error" in said:
                        raise RuntimeError(f"{method}: {said['error']}")
                    return dict(said["result"])
                self._hear(said)

    def _hear(self, said: dict[str, Any]) -> None:
        match said.get("method"):
            case "Runtime.exceptionThrown":
                self.complaints.append(str(said["params"]["exceptionDetails"]))
            case "Log.entryAdded" if said["params"]["entry"]["level"] == "error":
                self.complaints.append(said["params"]["entry"]["text"])
            case "Runtime.consoleAPICalled" if said["params"]["type"] == "error":
                self.complaints.append(str(said["params"]["args"]))

    async def attach(self) -> None:
        target = (await self.send("Target.createTarget", url="about:blank"))["targetId"]
        self._session = (await self.send("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await self.send(f"{domain}.enable")
        await self.size(1280, 900)

    async def size(self, width: int, height: int) -> None:
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    async def dark(self, dark: bool) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", media="", features=[scheme])

    async def go(self, url: str) -> None:
        await self.send("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """The value of an expression, awaited. Raises RuntimeError where it throws."""
        result = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"].get("exception", result["exceptionDetails"])))
        return result["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until an expression is true. Raises TimeoutError with what the page shows."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not await self._try(f"Boolean({condition})"):
                    await asyncio.sleep(0.03)
        except TimeoutError:
            shown = await self.run("document.body.innerText")
            raise TimeoutError(f"never true: {condition}\n{self.complaints}\n{shown}") from None

    async def _try(self, condition: str) -> Any:
        try:
            return await self.run(condition)
        except RuntimeError:  # the page is just changing
            return None

    async def text(self) -> str:
        return str(await self.run("document.body.innerText"))

    async def press(self, key: str) -> None:
        text = key if len(key) == 1 else ""
        for kind in ("keyDown", "keyUp"):
            await self.send("Input.dispatchKeyEvent", type=kind, key=key, text=text if kind == "keyDown" else "")

    async def shot(self, path: Path) -> None:
        data = await self.send("Page.captureScreenshot", format="png", optimizeForSpeed=False)
        path.write_bytes(base64.b64decode(data["data"]))


@asynccontextmanager
async def tab(endpoint: str) -> AsyncIterator[Page]:
    """A new tab of the browser at this websocket address."""
    async with aiohttp.ClientSession() as session, session.ws_connect(endpoint, max_msg_size=0) as socket:
        page = Page(socket)
        await page.attach()
        yield page


def launch(folder: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """A browser with a profile of its own, and the file in which it will say where it listens."""
    binary = find()
    assert binary is not None
    process = subprocess.Popen(
        [binary, *FLAGS, f"--user-data-dir={folder}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return process, folder / "DevToolsActivePort"


async def endpoint(place: Path) -> str:
    """The websocket address of a browser that was launched."""
    async with asyncio.timeout(PATIENCE_S):
        while not (place.exists() and len(place.read_text().splitlines()) == 2):
            await asyncio.sleep(0.05)
    port, path = place.read_text().splitlines()
    return f"ws://127.0.0.1:{port}{path}"
