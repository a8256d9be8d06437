"""Kills a process at a chosen system call: `strace` attached to it, with an injected SIGKILL.

strace counts calls per thread. The call at which the process dies is not carried out.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

ATTACH_TIMEOUT_S = 30.0
DEATH_TIMEOUT_S = 40.0

RENAMES = "rename,renameat,renameat2"
_PART = re.compile(r'"[^"]*/([0-9a-f-]{36})/tmp_insert_(\d+)_[^"]*", .*?(= 0$|\?|$)')
_UUID = re.compile(r"UUID '([0-9a-f-]{36})'")


class Trap:
    """What a sprung trap saw."""

    def __init__(self, record: Path) -> None:
        self._record = record

    @property
    def calls(self) -> list[str]:
        return [line.partition(" ")[2].strip() for line in self._record.read_text().splitlines()]

    def commits(self, engine_dir: Path) -> tuple[list[str], str]:
        """Tables whose new parts were renamed into place, in order, and the one whose rename did not happen."""
        tables = {
            found[1]: path.stem
            for path in (engine_dir / "store").rglob("*.sql")
            if (found := _UUID.search(path.read_text()[:200]))
        }
        renamed = [(tables[found[1]], found[3]) for call in self.calls if (found := _PART.search(call))]
        return [table for table, outcome in renamed[:-1]], renamed[-1][0] if renamed else ""


@contextlib.asynccontextmanager
async def trap(pid: int, directory: Path, calls: str, *, nth: int = 1, path: Path | None = None) -> AsyncIterator[Trap]:
    """Attached on entering; on leaving, the process must have died at the n-th of these calls (on this path)."""
    record = directory / f"strace-{pid}-{nth}"
    command = ["strace", "-f", "-e", f"trace={calls}", "-e", f"inject={calls}:signal=SIGKILL:when={nth}"]
    if path is not None:
        command += ["-P", str(path)]
    command += ["-o", str(record), "-p", str(pid)]
    tracer = await asyncio.create_subprocess_exec(*command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    try:
        async with asyncio.timeout(ATTACH_TIMEOUT_S):
            said = await tracer.stderr.readline()
        assert b"attached" in said, said.decode()
        drain = asyncio.create_task(tracer.stderr.read())
        yield Trap(record)
        await asyncio.wait_for(tracer.wait(), DEATH_TIMEOUT_S)  # strace ends when its last tracee has
        await drain
        assert "+++ killed by SIGKILL +++" in record.read_text(), record.read_text()[-2_000:]
    finally:
        if tracer.returncode is None:
            tracer.terminate()
            await tracer.wait()
