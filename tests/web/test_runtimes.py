"""The server-side part on each runtime that it promises: the oldest Node.js, Bun, Deno, and an edge runtime."""

from __future__ import annotations

import platform
import signal
import sys
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from tests.server import Client, RunningServer
from tests.web.process import APPLICATION, NodeProcess
from tests.web.workspace import run

pytestmark = pytest.mark.asyncio(loop_scope="session")

RUNTIMES = Path(__file__).with_name("runtimes")
PACKAGES = RUNTIMES / "node_modules"
VIEWS = 50
NAMES = {"x86_64": ("x64", "x64-baseline"), "aarch64": ("arm64", "aarch64")}
"""Node.js and Deno, and Bun."""


def runtime(name: str) -> Path:
    """The program, as npm's registry carries it."""
    others, bun = NAMES.get(platform.machine(), NAMES["x86_64"])
    programs = {
        "node 18": f"node-18-linux-{others}/bin/node",
        "bun": f"@oven/bun-linux-{bun}/bin/bun",
        "deno": f"@deno/linux-{others}-glibc/deno",
    }
    found = PACKAGES / programs[name]
    if sys.platform != "linux" or not found.is_file():
        pytest.skip("needs Linux and the packages of tests/web/runtimes: make test installs them")
    return found


@pytest.fixture
def site() -> str:
    return f"site-{uuid4().hex[:12]}.example"


def config(server: RunningServer, site: str) -> str:
    """Nothing would leave for an hour by itself."""
    known = {"apiBaseUrl": server.url, "appName": site, "token": server.token, "flushIntervalMs": 3_600_000}
    return msgspec.json.encode(known).decode()


async def counted(server: RunningServer, site: str) -> dict[str, float]:
    async with Client(server) as client:
        await client.flushed()
        rows = await client.query(site, ["events"], ["event:page"])
    return {path: count for (path,), (count,) in rows.items()}


@pytest.mark.parametrize("name", ["node 18", "bun", "deno"])
@pytest.mark.parametrize(("mode", "number", "code"), [("end", None, 0), ("signal", signal.SIGTERM, -signal.SIGTERM)])
async def test_what_waits_is_sent_when_the_process_ends(
    modules: Path, server: RunningServer, site: str, name: str, mode: str, number: signal.Signals | None, code: int
) -> None:
    module = modules / "node" / "index.js"
    program = runtime(name)
    # Deno runs what follows `run`, and asks before it lets a script do anything.
    words, script = (["-A", str(APPLICATION)], Path("run")) if name == "deno" else ([], APPLICATION)
    arguments = (*words, str(module), config(server, site), mode)
    async with NodeProcess(*arguments, script=script, runtime=program) as process:
        if number is not None:
            await process.said("pid")
            process.send_signal(number)
        assert (await process.ended())[::2] == (code, "")
    assert await counted(server, site) == {f"/{n}": 1 for n in range(VIEWS)}


async def test_an_edge_runtime_delivers(modules: Path, server: RunningServer, site: str, tmp_path: Path) -> None:
    if not (PACKAGES / "edge-runtime").is_dir():
        pytest.skip("needs the packages of tests/web/runtimes: make test installs them")
    script = tmp_path / "client.js"
    run(
        "node_modules/esbuild/bin/esbuild",
        str(modules / "node" / "index.js"),
        "--bundle",
        "--format=iife",
        "--global-name=client",
        f"--outfile={script}",
        "--log-level=error",
    )
    async with NodeProcess(str(script), config(server, site), script=RUNTIMES / "edge.mjs") as process:
        assert (await process.said("delivered"))["delivered"] == VIEWS
        assert (await process.ended())[::2] == (0, "")
    assert await counted(server, site) == {f"/{n}": 1 for n in range(VIEWS)}
