"""The one interface through which tests use Firefox and WebKit.

`Browser` is asynchronous, as the tests are; a `Driver` blocks, because Selenium does, and
is only ever called in a thread. Commands go to the last tab that was opened.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, Self

from tests.server import wait_for

COMMAND_TIMEOUT_S = 30.0
"""What one command may take on a busy machine: several times what it takes."""


class Driver(Protocol):
    """A browser with a fresh profile. All methods block; `end` may be called at any time, also after a failure."""

    name: str
    """As the server names the browser."""

    def start(self) -> None: ...
    def open(self, url: str) -> None: ...
    def reload(self) -> None: ...
    def evaluate(self, expression: str) -> Any: ...
    def click(self, selector: str) -> None: ...
    def open_tab(self) -> None: ...
    def close_tab(self) -> None: ...
    def end(self) -> None: ...


class Browser:
    """A running browser; use it as an async context, at whose end all its processes are gone."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.name = driver.name

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self._driver.start)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self, url: str) -> None:
        """Load an address; returns after the page's `load` event."""
        await asyncio.to_thread(self._driver.open, url)

    async def reload(self) -> None:
        await asyncio.to_thread(self._driver.reload)

    async def back(self) -> None:
        """Start to go back in the tab's history; wait with `until` for what it leads to.

        A page that comes from the back/forward cache fires no `load` event, and puppeteer goes on
        waiting for one: leave such a page by `evaluate("void location.assign(…)")`, not by `open`.
        """
        await self.evaluate("void history.back()")

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, as JSON can hold it; a promise is waited for."""
        return await asyncio.to_thread(self._driver.evaluate, expression)

    async def until(self, expression: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Any:
        """Evaluate until the value is true, and return it."""
        return await wait_for(lambda: self.evaluate(expression), timeout_s, expression)

    async def click(self, selector: str) -> None:
        """A real click on the first element that the CSS selector finds, once it is there and visible."""
        await asyncio.to_thread(self._driver.click, selector)

    async def open_tab(self) -> None:
        """An empty tab in the foreground, which is then the one that commands go to."""
        await asyncio.to_thread(self._driver.open_tab)

    async def close_tab(self) -> None:
        """Close it, as a visitor does, and return to the tab before it.

        Firefox may then interrupt the page's scripts, also while they handle `pagehide`: rarely, on a busy machine.
        """
        await asyncio.to_thread(self._driver.close_tab)

    async def close(self) -> None:
        await asyncio.to_thread(self._driver.end)
