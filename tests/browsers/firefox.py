"""Firefox, headless, driven over WebDriver BiDi by puppeteer-core.

puppeteer-core is a Node package: `puppeteer/driver.mjs` is the program that uses it, one
process for each browser, and takes commands by lines of JSON. `make test` installs the
package from its lock file where npm is there.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.browsers.browser import COMMAND_TIMEOUT_S
from tests.browsers.processes import ProcessGroup, clean_environment

START_TIMEOUT_S = 60.0
PACKAGE = Path(__file__).parent / "puppeteer"
BINARIES = ("firefox-esr", "firefox")
MAC_BINARY = "/Applications/Firefox.app/Contents/MacOS/firefox"

PREFERENCES = {
    # The driver turns these protections off; visitors have them on.
    "browser.contentblocking.features.standard": "tp,tpPrivate,cookieBehavior5,cryptoTP,fp",
    # A proxy of the machine has no part in the tests.
    "network.proxy.type": 0,
}


def find_firefox() -> tuple[str, str]:
    """Paths of Node and of a Firefox (`TEST_FIREFOX` names another one); skips the test without them."""
    firefox = os.environ.get("TEST_FIREFOX") or next(filter(None, map(shutil.which, BINARIES)), None)
    if firefox is None and os.access(MAC_BINARY, os.X_OK):
        firefox = MAC_BINARY
    if firefox is None:
        pytest.skip("no Firefox: install it (Debian: apt-get install firefox-esr) or set TEST_FIREFOX")
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js, which drives Firefox: install it (Debian: apt-get install nodejs npm)")
    if not (PACKAGE / "node_modules" / "puppeteer-core").is_dir():
        pytest.skip("puppeteer-core, which drives Firefox, is not installed: `make test` does it where npm is there")
    return node, firefox


class FirefoxDriver:
    """One Firefox with a fresh profile below `directory`."""

    name = "Firefox"

    def __init__(self, directory: Path) -> None:
        self._node, self._firefox = find_firefox()
        self._directory = directory
        self._process: ProcessGroup | None = None

    def start(self) -> None:
        self._directory.mkdir(parents=True)
        options = {
            "executable": self._firefox,
            "profile": str(self._directory / "profile"),
            "preferences": PREFERENCES,
            "startTimeoutMs": START_TIMEOUT_S * 1000,
            "timeoutMs": COMMAND_TIMEOUT_S * 1000,
        }
        self._process = ProcessGroup(
            [self._node, str(PACKAGE / "driver.mjs"), msgspec.json.encode(options).decode()],
            clean_environment(self._directory),
            self._directory / "driver.log",
        )
        # The browser leads a process group of its own.
        self._process.ends_also(int(self._answer(START_TIMEOUT_S)))

    def open(self, url: str) -> None:
        self._command("open", url)

    def reload(self) -> None:
        self._command("reload")

    def evaluate(self, expression: str) -> Any:
        return self._command("evaluate", expression)

    def click(self, selector: str) -> None:
        self._command("click", selector)

    def open_tab(self) -> None:
        self._command("open_tab")

    def close_tab(self) -> None:
        self._command("close_tab")

    def end(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None

    def _command(self, name: str, *values: str) -> Any:
        assert self._process is not None
        self._process.write_line(msgspec.json.encode([name, *values]))
        # The driver gives up first, and says on what.
        return self._answer(COMMAND_TIMEOUT_S + 10)

    def _answer(self, timeout_s: float) -> Any:
        assert self._process is not None
        answer = msgspec.json.decode(self._process.read_line(timeout_s))
        assert "error" not in answer, f"{answer['error']}\n{self._process.log}"
        return answer["value"]
