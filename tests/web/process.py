"""An application on Node.js that uses the built package, as a process of its own that a test watches and ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Self

import msgspec

from tests.web.workspace import find_node

APPLICATION = Path(__file__).with_name("node") / "application.mjs"
LINE_TIMEOUT_S = 60.0


class NodeProcess:
    """One run of a script, on Node.js unless told otherwise; an async context, which kills what is left of it."""

    def __init__(
        self, *arguments: str, script: Path = APPLICATION, folder: Path | None = None, runtime: Path | None = None
    ) -> None:
        self._command = [str(runtime) if runtime else find_node(), str(script), *arguments]
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=self._folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        process = self._running
        if process.returncode is None:
            process.kill()
        await process.communicate()

    @property
    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    async def said(self, key: str, at_least: int = 0) -> dict[str, Any]:
        """The next line that has this key, with a number at least as large."""
        assert self._running.stdout is not None
        while True:
            async with asyncio.timeout(LINE_TIMEOUT_S):
                line = await self._running.stdout.readline()
            if not line:
                assert self._running.stderr is not None
                raise AssertionError(f"It ended without {key}: {(await self._running.stderr.read()).decode()}")
            found: dict[str, Any] = msgspec.json.decode(line)
            if key in found and (not at_least or found[key] >= at_least):
                return found

    def send_signal(self, number: int) -> None:
        self._running.send_signal(number)

    async def ended(self) -> tuple[int, list[dict[str, Any]], str]:
        """Its exit code, the lines of JSON that were left to read, and what it wrote to standard error."""
        async with asyncio.timeout(LINE_TIMEOUT_S):
            out, err = await self._running.communicate()
        assert self._running.returncode is not None
        return self._running.returncode, [msgspec.json.decode(line) for line in out.splitlines()], err.decode()
