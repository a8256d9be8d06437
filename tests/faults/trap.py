"""Waits for a process to be killed at a chosen system call, and tells what it had committed until then.

The engine writes a new part under a temporary name and commits it by a rename; an insert's
parts are renamed by one thread, one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tests.faults.strace import ATTACH_TIMEOUT_S, Injection, options

DEATH_TIMEOUT_S = 40.0

RENAMES = ("rename", "renameat2")
"""What the engine commits with; the log names its segments by `renameat`."""
_PART = re.compile(r'"[^"]*/([0-9a-f-]{36})/tmp_insert_')
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
        renamed = [tables[found[1]] for call in self.calls if (found := _PART.search(call))]
        return (renamed[:-1], renamed[-1]) if renamed else ([], "")


@contextlib.asynccontextmanager
async def trap(
    pid: int, directory: Path, calls: Sequence[str], *, nth: int = 1, paths: Sequence[Path] = ()
) -> AsyncIterator[Trap]:
    """Set on entering; on leaving, the process must have died at the n-th of these calls (on one of these paths)."""
    record = directory / f"strace-{pid}-{nth}"
    injections = [Injection(call, when=str(nth)) for call in calls]
    tracer = await asyncio.create_subprocess_exec(
        *("strace", "-f", "-p", str(pid), *options(injections, record, paths)),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert tracer.stderr is not None
    try:
        said = await asyncio.wait_for(tracer.stderr.readline(), ATTACH_TIMEOUT_S)
        assert b"attached" in said, said.decode()
        drain = asyncio.create_task(tracer.stderr.read())
        yield Trap(record)
        await asyncio.wait_for(tracer.wait(), DEATH_TIMEOUT_S)  # strace ends when all it watches has ended
        await drain
        assert "+++ killed by SIGKILL +++" in record.read_text(), record.read_text()[-2_000:]
    finally:
        if tracer.returncode is None:
            tracer.terminate()
            try:
                await asyncio.wait_for(tracer.wait(), ATTACH_TIMEOUT_S)
            except TimeoutError:  # it holds a process that can't end while it is traced: let that go
                tracer.kill()
                await tracer.wait()
