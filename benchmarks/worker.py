"""A benchmark's part that opens the engine in process, in a process of its own.

The engine takes one path per process, so two benchmarks can't share one.
`python -m benchmarks.worker MODULE DIR SIZE…` prints what `MODULE.work` returns as JSON.
"""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")
TIMEOUT_S = 7_200.0


def ask(module: str, directory: Path, sizes: tuple[int, ...], kind: type[T]) -> T:
    """Run `work(directory, *sizes)` of a benchmark's module elsewhere; returns its answer."""
    command = [sys.executable, "-m", "benchmarks.worker", module, str(directory), *map(str, sizes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-3000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=kind)


async def main(module: str, directory: str, *sizes: str) -> None:
    """The other process."""
    answer = await importlib.import_module(module).work(Path(directory), *map(int, sizes))
    print(msgspec.json.encode(answer).decode())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
