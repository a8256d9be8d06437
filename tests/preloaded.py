"""Processes of this project that need not import it again: forked from one that has.

Two thirds of the time that a server of these tests takes to start go into its imports, and a run starts a thousand of
them. Here a process imports the modules once for each worker and forks a child for each `start`, with its own
environment, arguments, standard streams and process id; the child then runs the module as `python -m` would. ClickHouse
in process is no part of what is imported before: loading it starts threads, which a fork would lose.

`start` returns what `subprocess.Popen` would, as far as tests ask. Tests whose subject is the process itself (its
command line, its warnings at import, `strace`) start one with `subprocess` instead, and so does every test where the
machine has no fork that is safe (macOS): `start` does that by itself.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec

ROOT = Path(__file__).resolve().parent.parent
CAN_FORK = sys.platform == "linux"
LONGEST_MESSAGE = 1_000_000
STREAMS = 3
STATUS_BYTES = 4


class Running(Protocol):
    """What tests ask of a process; `subprocess.Popen` has it too."""

    pid: int
    stdin: IO[bytes] | None
    stdout: IO[bytes] | None
    returncode: int | None

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


class Order(msgspec.Struct, frozen=True):
    """Which module to run, how."""

    module: str
    arguments: list[str]
    environment: dict[str, str]
    directory: str


class Forked:
    """A forked process. Its exit code comes through a pipe, from the process that forked it and waits for it."""

    def __init__(self, pid: int, status: int, stdin: IO[bytes] | None, stdout: IO[bytes] | None) -> None:
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is not None:
            return self.returncode
        with selectors.DefaultSelector() as selector:
            selector.register(self._status, selectors.EVENT_READ)
            if not selector.select(timeout):
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        told = os.read(self._status, STATUS_BYTES)
        if not told:
            raise RuntimeError("the process that forks has ended")
        os.close(self._status)
        self.returncode = int.from_bytes(told, sys.byteorder, signed=True)
        return self.returncode

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Forker:
    """The process that has imported everything, as the tests of one worker see it."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "default", "-m", "tests.forker", str(theirs.fileno())],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._owner = os.getpid()
        atexit.register(self.close)

    def fork(self, order: Order, streams: Sequence[int]) -> tuple[int, int]:
        """Process id, and the pipe that tells its exit code."""
        status, tell = os.pipe()
        with self._turn:  # answers come in the order in which it was asked: another thread's is not this one's
            try:
                socket.send_fds(self._socket, [msgspec.json.encode(order)], [*streams, tell])
            finally:
                os.close(tell)
            answer = self._socket.recv(64)
        if not answer:
            os.close(status)
            raise RuntimeError("the process that forks has ended")
        return int(answer), status

    def close(self) -> None:
        if os.getpid() == self._owner:
            self._socket.close()
            self._process.wait()


_forker: _Forker | None = None
_making = threading.Lock()


def start(
    module: str,
    arguments: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int | IO[Any] = subprocess.PIPE,
    stderr: int | IO[Any],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Running:
    """`python -W default -m MODULE ARGUMENTS`, forked where that can be. `stdin` is DEVNULL or PIPE."""
    environment = dict(os.environ if env is None else env)
    if not CAN_FORK or _of_interpreter(environment) != _of_interpreter(os.environ):
        return subprocess.Popen(
            [sys.executable, "-W", "default", "-m", module, *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            cwd=cwd,
        )
    global _forker  # noqa: PLW0603 - one for each worker
    with _making:
        if _forker is None:
            _forker = _Forker()
    order = Order(module, list(arguments), environment, str(cwd or Path.cwd()))
    theirs: list[int] = []
    try:
        ours_in, fd = _readable(stdin, theirs)
        ours_out, out = _writable(stdout, theirs)
        _, err = _writable(stderr, theirs)
        pid, status = _forker.fork(order, [fd, out, err])
    finally:
        for one in theirs:
            os.close(one)
    return Forked(pid, status, ours_in, ours_out)


def _of_interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    """What it reads when it starts."""
    return {name: text for name, text in environment.items() if name.startswith("PYTHON")}


def run(
    module: str,
    arguments: Sequence[str],
    *,
    typed: str = "",
    env: Mapping[str, str] | None = None,
    timeout: float,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """`subprocess.run(…, input=typed, capture_output=True, text=True)` of `start`; `typed` fits into a pipe."""
    deadline = time.monotonic() + timeout
    errors_read, errors = os.pipe()
    try:
        process = start(module, arguments, stdin=subprocess.PIPE, stderr=errors, env=env, cwd=cwd)
    finally:
        os.close(errors)
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(typed.encode())
    pieces: dict[int, bytes] = {process.stdout.fileno(): b"", errors_read: b""}
    try:
        with selectors.DefaultSelector() as selector:
            for pipe in pieces:
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                found = selector.select(max(deadline - time.monotonic(), 0))
                if not found:
                    process.kill()
                    raise subprocess.TimeoutExpired([module, *arguments], timeout)
                for key, _ in found:
                    piece = os.read(key.fd, io.DEFAULT_BUFFER_SIZE)
                    pieces[key.fd] += piece
                    if not piece:
                        selector.unregister(key.fd)
        code = process.wait(max(deadline - time.monotonic(), 0))
    finally:
        out, err = pieces[process.stdout.fileno()], pieces[errors_read]
        process.stdout.close()
        os.close(errors_read)
    return subprocess.CompletedProcess([module, *arguments], code, out.decode(), err.decode())


def _readable(wanted: int, theirs: list[int]) -> tuple[IO[bytes] | None, int]:
    """Our end of standard input, and the child's; what is to be closed after the fork is added to `theirs`."""
    if wanted == subprocess.PIPE:
        read, write = os.pipe()
        theirs.append(read)
        return os.fdopen(write, "wb"), read
    theirs.append(os.open(os.devnull, os.O_RDONLY))
    return None, theirs[-1]


def _writable(wanted: int | IO[Any], theirs: list[int]) -> tuple[IO[bytes] | None, int]:
    """The same for standard output and error, which may be files and descriptors too."""
    if wanted == subprocess.PIPE:
        read, write = os.pipe()
        theirs.append(write)
        return os.fdopen(read, "rb"), write
    if wanted == subprocess.DEVNULL:
        theirs.append(os.open(os.devnull, os.O_WRONLY))
        return None, theirs[-1]
    return None, wanted if isinstance(wanted, int) else wanted.fileno()
