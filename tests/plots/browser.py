"""A headless Chromium for tests, driven through its DevTools protocol by tornado's websocket."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

from tornado.websocket import websocket_connect

NAMES = ("chromium", "chromium-browser", "chromium-headless-shell", "google-chrome", "chrome")


def chromium() -> str | None:
    """The program, where there is one."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page; `async with Browser(folder) as page`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number, self.log = folder, 0, []

    async def __aenter__(self) -> Browser:
        self.process = subprocess.Popen(
            [
                chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--hide-scrollbars", "--no-first-run", "--window-size=900,760", "--remote-debugging-port=0",
                f"--user-data-dir={self.folder / 'profile'}", "about:blank",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        port = self.folder / "profile" / "DevToolsActivePort"
        await self._until(lambda: port.is_file() and port.read_text().count("\n") > 0)
        pages = f"http://127.0.0.1:{port.read_text().split()[0]}/json/list"
        await self._until(lambda: any(p["type"] == "page" for p in json.load(urllib.request.urlopen(pages))))
        page = next(p for p in json.load(urllib.request.urlopen(pages)) if p["type"] == "page")
        self.socket = await websocket_connect(page["webSocketDebuggerUrl"], max_message_size=2**28)
        await self.call("Runtime.enable")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.socket.close()
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(20)

    async def call(self, method: str, **parameters: object) -> dict:
        """Call a method of the protocol; what the console says meanwhile goes to `log`."""
        self.number += 1
        await self.socket.write_message(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(await asyncio.wait_for(self.socket.read_message(), 60))
            if answer.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                self.log.append(answer["params"])
            if answer.get("id") == self.number:
                return answer["result"]

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def value(self, expression: str) -> object:
        """Value of an expression in the page."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    async def wait(self, expression: str, seconds: float = 60) -> None:
        """Wait until an expression is true in the page."""
        end = time.monotonic() + seconds
        while not await self.value(expression):
            assert time.monotonic() < end, f"not within {seconds} s: {expression}; console: {self.log}"
            await asyncio.sleep(0.1)

    async def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])

    async def wheel(self, x: float, y: float, delta: float) -> None:
        await self.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=delta)

    async def screenshot(self, path: Path) -> None:
        answer = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))

    async def _until(self, true: object, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "Chromium did not start"
            assert self.process.poll() is None, "Chromium ended"
            await asyncio.sleep(0.05)


KEYS = {"ArrowRight": 39, "ArrowLeft": 37}
