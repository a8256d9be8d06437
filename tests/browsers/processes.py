"""A process that ends together with all that it started."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

END_TIMEOUT_S = 10.0
PIECE_BYTES = 65_536


def clean_environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process' environment for a browser: settings and caches below `home`, no desktop and no proxy."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("XDG_", "DBUS_", "DISPLAY", "WAYLAND_", "MOZ_"))
    }
    runtime = home / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    return {**kept, "HOME": str(home), "XDG_RUNTIME_DIR": str(runtime), **(more or {})}


class ProcessGroup:
    """A command as the leader of a process group of its own, with standard input and output by lines.

    `log` takes what it writes to standard error, to be shown when something failed.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        self._received = b""
        self._further: list[int] = []
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )

    def ends_also(self, group: int) -> None:
        """Name another process group that is killed with this one."""
        self._further.append(group)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end at most so long; has it ended?"""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return self.has_ended

    def write_line(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()

    def read_line(self, timeout_s: float) -> bytes:
        """The next line of standard output; an `AssertionError` with the log if none comes in time."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout_s
        closed = False
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while b"\n" not in self._received and not closed and (left := deadline - time.monotonic()) > 0:
                if selector.select(left):
                    piece = os.read(pipe, PIECE_BYTES)
                    closed = not piece
                    self._received += piece
        line, newline, rest = self._received.partition(b"\n")
        if not newline:
            # The pipe is closed a moment before the process can be waited for.
            if closed:
                what = "ended" if self.wait(END_TIMEOUT_S) else "closed its standard output"
            else:
                what = f"was silent for {timeout_s:g} s"
            raise AssertionError(f"{self._process.args!r} {what}:\n{self.log}")
        self._received = rest
        return line

    @property
    def log(self) -> str:
        """The end of what it has written to standard error."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-4_000:]

    def end(self, timeout_s: float = END_TIMEOUT_S) -> None:
        """Close its standard input and ask it to end; kill what is left of the group after `timeout_s`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.terminate()
        self.wait(timeout_s)
        for group in (self._process.pid, *self._further):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()
