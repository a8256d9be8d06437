"""An example as a process of its own, started as its users start it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path
from typing import Self

from tests.web.workspace import ROOT, WEB, find_node

EXAMPLES = ROOT / "examples"
START_TIMEOUT_S = 120.0
_ADDRESS = re.compile(r"http://(?:127\.0\.0\.1|localhost):\d+")


def with_packages(name: str, modules: Path, folder: Path) -> Path:
    """A copy of an example, with the client as it is built now, and the packages of `web/` in the place of its own."""
    example = folder / name
    shutil.copytree(EXAMPLES / name, example, ignore=shutil.ignore_patterns("node_modules", "dist"))
    link_packages(example, WEB / "node_modules", modules)
    return example


def link_packages(application: Path, given: Path, modules: Path) -> None:
    """Gives an application without packages those of another folder, and the client as it is built now."""
    packages = application / "node_modules"
    packages.mkdir()
    for package in given.iterdir():
        if package.name != "@analytics":
            (packages / package.name).symlink_to(package)
    client = packages / "@analytics" / "client"
    shutil.copytree(modules, client / "dist")
    shutil.copy(WEB / "client" / "package.json", client)


class ExampleProcess:
    """One run of a Node.js script in a folder; use it as an async context, which ends it."""

    def __init__(self, folder: Path, *command: str, ready: str = "http://", **environment: str) -> None:
        self._folder = folder
        self._command = [find_node(), *command]
        self._ready = ready
        self._environment = {**os.environ, "NO_COLOR": "1", "NEXT_TELEMETRY_DISABLED": "1", **environment}
        self._process: asyncio.subprocess.Process | None = None
        self._lines: list[str] = []
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=self._folder,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        ready = asyncio.Event()
        self._reader = asyncio.create_task(self._read(self._process, ready))
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await ready.wait()
            assert self._process.returncode is None, self.output
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._reader is not None
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()
        await self._reader

    async def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self._process is not None
        self._process.terminate()
        async with asyncio.timeout(START_TIMEOUT_S):
            return await self._process.wait()

    @property
    def output(self) -> str:
        return "".join(self._lines)

    @property
    def origin(self) -> str:
        """The address that it prints when it is ready."""
        found = _ADDRESS.search(self.output)
        assert found is not None, self.output
        return found[0]

    async def _read(self, process: asyncio.subprocess.Process, ready: asyncio.Event) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self._lines.append(line.decode())
            if self._ready in self._lines[-1]:
                ready.set()
        ready.set()
