"""WebKit, as WebKitGTK's MiniBrowser, driven by Selenium through WebKitWebDriver.

It has no headless mode: each browser gets a virtual screen (Xvfb) of its own, which
chooses a free display number itself.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Remote, WebKitGTKOptions
from selenium.webdriver.common.by import By
from selenium.webdriver.common.proxy import Proxy, ProxyType
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.wait import WebDriverWait

from tests.browsers.browser import COMMAND_TIMEOUT_S
from tests.browsers.processes import ProcessGroup, clean_environment
from tests.server import own_port

START_TIMEOUT_S = 60.0
POLL_S = 0.05
MINI_BROWSERS = "webkit2gtk-4.*/MiniBrowser"
LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/libexec")
REMEDY = "(Debian: apt-get install webkit2gtk-driver xvfb)"

ENVIRONMENT = {
    "GDK_BACKEND": "x11",
    # Containers seldom allow the sandbox's namespaces, and the only pages are the tests' own.
    "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
    # Neither a desktop's settings nor its buses: there is no desktop.
    "GSETTINGS_BACKEND": "memory",
    "GIO_USE_VFS": "local",
    "NO_AT_BRIDGE": "1",
    "DBUS_SESSION_BUS_ADDRESS": "disabled:",
    "LIBGL_ALWAYS_SOFTWARE": "1",
}


def find_webkit() -> tuple[str, str, str]:
    """Paths of Xvfb, WebKitWebDriver and MiniBrowser (`TEST_WEBKIT` names another one); skips without them."""
    screen, driver = shutil.which("Xvfb"), shutil.which("WebKitWebDriver")
    found = (
        str(path)
        for libraries in LIBRARIES
        for pattern in (MINI_BROWSERS, f"*/{MINI_BROWSERS}")
        for path in sorted(Path(libraries).glob(pattern), reverse=True)
    )
    browser = os.environ.get("TEST_WEBKIT") or next(found, None)
    if screen is None:
        pytest.skip(f"no Xvfb, the virtual screen for WebKit: install it {REMEDY}")
    if driver is None or browser is None:
        pytest.skip(f"no WebKit: install it {REMEDY}, or set TEST_WEBKIT to a MiniBrowser")
    return screen, driver, browser


class WebKitDriver:
    """One MiniBrowser with a fresh profile below `directory`, on a screen of its own."""

    name = "Safari"

    def __init__(self, directory: Path) -> None:
        self._screen_command, self._driver_command, self._browser = find_webkit()
        self._directory = directory
        self._screen: ProcessGroup | None = None
        self._process: ProcessGroup | None = None
        self._connection: RemoteConnection | None = None
        self._remote: Remote | None = None
        self._tabs: list[str] = []

    def start(self) -> None:
        self._directory.mkdir(parents=True)
        self._screen = ProcessGroup(
            [self._screen_command, "-displayfd", "1", "-screen", "0", "1280x1024x24", "-nolisten", "tcp", "-noreset"],
            clean_environment(self._directory),
            self._directory / "screen.log",
        )
        display = f":{self._screen.read_line(START_TIMEOUT_S).decode().strip()}"
        environment = clean_environment(self._directory, {**ENVIRONMENT, "DISPLAY": display})
        address = self._start_driver(environment)
        options = WebKitGTKOptions()
        options.binary_location = self._browser
        options.add_argument("--automation")
        client = ClientConfig(address, timeout=int(START_TIMEOUT_S), proxy=Proxy({"proxyType": ProxyType.DIRECT}))
        self._connection = RemoteConnection(client_config=client)
        self._remote = Remote(self._connection, options=options)
        self._tabs = [self._remote.current_window_handle]
        self._remote.set_page_load_timeout(COMMAND_TIMEOUT_S)
        self._remote.set_script_timeout(COMMAND_TIMEOUT_S)

    def _start_driver(self, environment: dict[str, str]) -> str:
        """WebKitWebDriver takes a port number but does not choose one: if a free one was taken meanwhile, again."""
        for _ in range(3):
            port = own_port()
            log = self._directory / "driver.log"
            self._process = ProcessGroup([self._driver_command, f"--port={port}"], environment, log)
            if self._listens(self._process, port):
                return f"http://127.0.0.1:{port}"
            self._process.end()
        raise AssertionError(f"WebKitWebDriver did not start:\n{log.read_text(encoding='utf-8')}")

    @staticmethod
    def _listens(process: ProcessGroup, port: int) -> bool:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not process.has_ended and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return not process.has_ended
            process.wait(POLL_S)
        return False

    def open(self, url: str) -> None:
        self._tab.get(url)

    def reload(self) -> None:
        self._tab.refresh()

    def evaluate(self, expression: str) -> Any:
        return self._tab.execute_script(f"return ({expression})")

    def click(self, selector: str) -> None:
        found = expected_conditions.element_to_be_clickable((By.CSS_SELECTOR, selector))
        WebDriverWait(self._tab, COMMAND_TIMEOUT_S, POLL_S).until(found).click()

    def open_tab(self) -> None:
        # A window: MiniBrowser opens tabs in the background, and nothing brings them to the front.
        self._tab.switch_to.new_window("window")
        self._tabs.append(self._tab.current_window_handle)

    def close_tab(self) -> None:
        self._tab.close()
        self._tabs.pop()
        self._tab.switch_to.window(self._tabs[-1])

    def end(self) -> None:
        if self._connection is not None:
            self._connection.close()  # type: ignore[no-untyped-call]
        for process in (self._process, self._screen):
            if process is not None:
                process.end()
        self._connection = self._remote = self._process = self._screen = None

    @property
    def _tab(self) -> Remote:
        assert self._remote is not None
        return self._remote
