"""Makes what was written to a file durable (fdatasync), without holding up the event loop.

On Linux the kernel does the `fdatasync` itself (io_submit) and tells the loop through an
eventfd. No thread takes part: a thread that comes back from a system call has to wait for the
interpreter, up to 5 ms while the loop is busy, and its waiting costs the loop a fifth of
its time under load. Where the kernel can't (macOS, some sandboxes) a thread does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

try:
    from caio.abstract import AbstractOperation
    from caio.linux_aio import Context, Operation
except ImportError:  # not on Linux
    Context = None  # type: ignore[assignment,misc]

sync_data = getattr(os, "fdatasync", os.fsync)
"""macOS has no fdatasync."""

NOT_OS_ERRORS = (ValueError, RuntimeError, SystemError, OverflowError)
"""What the library makes of the kernel's errors: EINVAL, ENOSYS, EAGAIN and others."""

FIRST_SYNC_S = 10


class Syncer(Protocol):
    """One sync at a time."""

    def sync(self, fd: int) -> asyncio.Future[None]:
        """Done when the file's bytes are on disk; `OSError` when they may not be."""
        ...

    def close(self) -> None:
        """Release what it holds; no sync may be under way."""
        ...


class KernelSyncer:
    """Asks the kernel, and hears from it on the loop. Raises `OSError` when it doesn't know how."""

    def __init__(self, loop: asyncio.AbstractEventLoop, probe: Path) -> None:
        """`probe` is a file of the directory to sync in, to try it."""
        if Context is None:
            raise OSError(errno.ENOSYS, "Linux's asynchronous I/O is not there")
        self._loop = loop
        try:
            self._context = Context(max_requests=1)
        except NOT_OS_ERRORS as refusal:
            raise OSError(errno.ENOSYS, str(refusal)) from refusal
        fd = os.open(probe, os.O_RDWR | os.O_CLOEXEC)
        try:
            operation = Operation.fdsync(fd)
            self._submit(operation)
            if not self._take(min_requests=1, timeout=FIRST_SYNC_S):
                raise OSError(errno.ETIMEDOUT, "a first sync did not end")
            if (failure := _failure_of(operation)) is not None:
                raise failure
        finally:
            os.close(fd)
        self._waiting: tuple[AbstractOperation, asyncio.Future[None]] | None = None
        loop.add_reader(self._context.fileno, self._on_event)

    def sync(self, fd: int) -> asyncio.Future[None]:
        """Ask the kernel; done when it reports the end."""
        assert self._waiting is None, "one sync at a time"
        future = self._loop.create_future()
        operation = Operation.fdsync(fd)
        try:
            self._submit(operation)
        except OSError as failure:
            future.set_exception(failure)
        else:
            self._waiting = (operation, future)
        return future

    def _submit(self, operation: AbstractOperation) -> None:
        try:
            taken = self._context.submit(operation)
        except NOT_OS_ERRORS as failure:
            raise OSError(errno.EINVAL, str(failure)) from failure
        if taken != 1:
            raise OSError(errno.EAGAIN, "the kernel did not take the sync")

    def _take(self, min_requests: int = 0, timeout: int = 0) -> int:
        """How many syncs the kernel reports as ended. Raises `OSError`."""
        try:
            return self._context.process_events(min_requests=min_requests, timeout=timeout)
        except NOT_OS_ERRORS as failure:
            raise OSError(errno.EIO, str(failure)) from failure

    def _on_event(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._context.poll()
        failure: OSError | None = None
        try:
            if not self._take():
                return
        except OSError as unknown:  # how the sync ended will never be known
            failure = unknown
        if self._waiting is None:
            return
        (operation, future), self._waiting = self._waiting, None
        if future.done():
            return
        failure = failure or _failure_of(operation)
        if failure is None:
            future.set_result(None)
        else:
            future.set_exception(failure)

    def close(self) -> None:
        """Listen to the kernel no more."""
        self._loop.remove_reader(self._context.fileno)


def _failure_of(operation: AbstractOperation) -> OSError | None:
    """How a finished sync failed."""
    try:
        operation.get_value()
    except OSError as failure:
        return failure
    except NOT_OS_ERRORS as failure:
        return OSError(errno.EIO, str(failure))
    return None


class ThreadSyncer:
    """Syncs on a thread of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="wal-sync")

    def sync(self, fd: int) -> asyncio.Future[None]:
        """Sync on the thread."""
        return self._loop.run_in_executor(self._thread, sync_data, fd)

    def close(self) -> None:
        """End the thread after the sync under way."""
        self._thread.shutdown(wait=False)


def make_syncer(loop: asyncio.AbstractEventLoop, probe: Path) -> Syncer:
    """The fastest that works here."""
    try:
        return KernelSyncer(loop, probe)
    except OSError:
        return ThreadSyncer(loop)
