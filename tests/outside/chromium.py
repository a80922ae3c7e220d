"""Chromium without a window and without a network, driven over its own protocol by a pipe.

No driver and no package is needed for that: messages of the DevTools protocol are JSON, each ended
by a zero byte, on the file descriptors 3 and 4. Where it is not installed, who asks is skipped.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS: Final = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # tests may run as root, in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=127.0.0.1:9",
)
ENDED_S: Final = 60
LOWEST_DESCRIPTOR: Final = 10


def find_chromium() -> str:
    """Return the browser's path; skip where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("NOT RUN: Chromium is not installed (Debian: chromium)")
    return found


class ProtocolError(Exception):
    """The browser refused a command, or the page threw."""


class Tab:
    """One page of the browser: commands are sent, and what happens meanwhile is remembered."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def send(self, method: str, **parameters: Any) -> Any:  # noqa: ANN401 - JSON
        """Return the result of a command of the DevTools protocol."""
        return self._browser.send(method, session=self._session, **parameters)

    def open(self, path: Path) -> None:
        """Open a file and wait until it is loaded."""
        self.send("Page.navigate", url=path.as_uri())
        self._browser.wait_for("Page.loadEventFired", self._session)

    def run(self, script: str) -> Any:  # noqa: ANN401 - JSON
        """Return the value of an expression in the page, awaited if it is a promise."""
        answer = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise ProtocolError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def choose(self, selector: str, *paths: Path) -> None:
        """Choose files in a file input, as a person does."""
        document = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def wait_until(self, condition: str) -> None:
        """Wait until an expression of the page holds, looking again whenever the page changes."""
        self.run(
            f"""new Promise((done) => {{
              const look = () => {{
                if (!({condition})) return;
                watch.disconnect();
                done();
              }};
              const watch = new MutationObserver(look);
              watch.observe(document, {{
                subtree: true, childList: true, attributes: true, characterData: true,
              }});
              look();
            }})"""
        )

    def picture(self, path: Path, *, width: int = 1100, height: int = 900) -> None:
        """Write a PNG of the whole page."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **metrics)
        taken = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))

    def events(self, method: str) -> list[dict[str, Any]]:
        """Return the events of this kind so far."""
        return [
            each["params"]
            for each in self._browser.events
            if each["method"] == method and each.get("sessionId") == self._session
        ]


class Browser:
    """A running browser, at the other end of two pipes."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = os.fdopen(commands, "wb", buffering=0)
        self._answers = os.fdopen(answers, "rb", buffering=0)
        self._held = b""
        self._last = 0
        self.events: list[dict[str, Any]] = []

    def send(self, method: str, *, session: str | None = None, **parameters: Any) -> Any:  # noqa: ANN401 - JSON
        """Return the result of a command, once it is there."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        self._commands.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise ProtocolError(f"{method}: {answer['error']}")
                return answer["result"]

    def wait_for(self, method: str, session: str) -> None:
        """Wait for an event that has not come yet."""
        seen = len(self.events)
        while not any(
            each["method"] == method and each.get("sessionId") == session
            for each in self.events[seen:]
        ):
            self._read()

    def _read(self) -> dict[str, Any]:
        """Return the next message; an event is remembered too."""
        while b"\0" not in self._held:
            piece = self._answers.read(65_536)
            if not piece:
                raise ProtocolError("the browser ended")
            self._held += piece
        line, self._held = self._held.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        if "id" not in message:
            self.events.append(message)
        return message

    def close(self) -> None:
        """Ask it to end, and let go of the pipes."""
        with self._commands, self._answers:
            self.send("Browser.close")


@contextmanager
def browser(home: Path) -> Iterator[Browser]:
    """Run Chromium with a profile of its own in `home`."""
    program = find_chromium()
    its_commands, our_commands = _pipe()
    our_answers, its_answers = _pipe()
    redirected = f'exec "$@" 3<&{its_commands} 4>&{its_answers}'
    options = [*OPTIONS, f"--user-data-dir={home}", "about:blank"]
    process = subprocess.Popen(
        ["bash", "-c", redirected, "bash", program, *options],
        pass_fds=(its_commands, its_answers),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(its_commands)
    os.close(its_answers)
    running = Browser(our_commands, our_answers)
    try:
        yield running
        running.close()
    finally:
        process.terminate()
        process.wait(ENDED_S)


def _pipe() -> tuple[int, int]:
    """Return the ends of a pipe, both above the descriptors that the browser is to have."""
    ends = []
    for low in os.pipe():
        ends.append(fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, LOWEST_DESCRIPTOR))
        os.close(low)
    return ends[0], ends[1]


def new_tab(running: Browser, *, language: str = "en-US") -> Tab:
    """Return a new page that can reach nothing, whose browser speaks this language."""
    target = running.send("Target.createTarget", url="about:blank")["targetId"]
    attached = running.send("Target.attachToTarget", targetId=target, flatten=True)
    tab = Tab(running, attached["sessionId"])
    for domain in ("Page", "Runtime", "DOM", "Network", "Log"):
        tab.send(f"{domain}.enable")
    agent = tab.run("navigator.userAgent")
    tab.send("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=language)
    tab.send(
        "Network.emulateNetworkConditions",
        offline=True,
        latency=0,
        downloadThroughput=0,
        uploadThroughput=0,
    )
    return tab
