"""Both ways to make a file durable: the kernel's own, and a thread."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from analytics_server.ingest.wal import sync
from analytics_server.ingest.wal.sync import KernelSyncer, Syncer, ThreadSyncer, make_syncer

Make = Callable[[asyncio.AbstractEventLoop, Path], Syncer]

WAYS: list[Make] = [lambda loop, probe: ThreadSyncer(loop)]
if sys.platform == "linux":
    WAYS.append(KernelSyncer)


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    path = tmp_path / "probe"
    path.touch()
    return path


@pytest.mark.parametrize("make", WAYS)
async def test_many_syncs_in_a_row(make: Make, probe: Path) -> None:
    syncer = make(asyncio.get_running_loop(), probe)
    fd = os.open(probe, os.O_RDWR)
    for number in range(50):
        os.write(fd, b"x" * number)
        await asyncio.wait_for(syncer.sync(fd), 30)
    os.close(fd)
    syncer.close()


@pytest.mark.parametrize("make", WAYS)
async def test_a_sync_that_fails_says_so_and_the_next_one_works(make: Make, probe: Path) -> None:
    syncer = make(asyncio.get_running_loop(), probe)
    reader, writer = os.pipe()
    with pytest.raises(OSError, match=r"(?i)invalid|inappropriate"):
        await asyncio.wait_for(syncer.sync(reader), 30)
    fd = os.open(probe, os.O_RDWR)
    await asyncio.wait_for(syncer.sync(fd), 30)
    for descriptor in (reader, writer, fd):
        os.close(descriptor)
    syncer.close()


async def test_the_loop_goes_on_while_the_disk_works(probe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0

    def slow(fd: int) -> None:
        deadline = asyncio.run_coroutine_threadsafe(turned(), loop)
        deadline.result(30)

    async def turned() -> None:
        nonlocal turns
        for _ in range(100):
            turns += 1
            await asyncio.sleep(0)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(sync, "sync_data", slow)
    syncer = ThreadSyncer(loop)
    await syncer.sync(0)
    syncer.close()

    assert turns == 100


async def test_linux_syncs_without_a_thread(probe: Path) -> None:
    syncer = make_syncer(asyncio.get_running_loop(), probe)
    assert isinstance(syncer, KernelSyncer) == (sys.platform == "linux")
    syncer.close()


@pytest.mark.parametrize("refusal", [OSError, SystemError])
async def test_where_the_kernel_cannot_a_thread_does_it(
    probe: Path, monkeypatch: pytest.MonkeyPatch, refusal: type[Exception]
) -> None:
    """The library makes a SystemError of a kernel without the call."""

    def refuse(max_requests: int) -> None:
        raise refusal(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(sync, "Context", refuse)
    syncer = make_syncer(asyncio.get_running_loop(), probe)
    assert isinstance(syncer, ThreadSyncer)
    syncer.close()


async def test_an_error_of_the_kernel_is_an_error_of_the_sync(probe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library raises for a result below zero is not an OSError."""
    if sys.platform != "linux":
        return
    syncer = KernelSyncer(asyncio.get_running_loop(), probe)

    class Failed:
        def get_value(self) -> None:
            raise SystemError("Input/output error")

    fd = os.open(probe, os.O_RDWR)
    future = syncer.sync(fd)
    assert syncer._waiting is not None
    syncer._waiting = (Failed(), future)  # type: ignore[assignment]
    with pytest.raises(OSError, match="Input/output"):
        await asyncio.wait_for(future, 30)
    os.close(fd)
    syncer.close()


@pytest.mark.parametrize("failure", [OverflowError, ValueError, SystemError])
async def test_a_sync_the_kernel_does_not_take_is_an_error(
    probe: Path, monkeypatch: pytest.MonkeyPatch, failure: type[Exception]
) -> None:
    if sys.platform != "linux":
        return
    syncer = KernelSyncer(asyncio.get_running_loop(), probe)

    class Refusing:
        fileno = syncer._context.fileno

        def submit(self, operation: object) -> int:
            raise failure("Insufficient resources are available to queue any iocbs [EAGAIN]")

    context = syncer._context
    monkeypatch.setattr(syncer, "_context", Refusing())
    with pytest.raises(OSError, match="EAGAIN"):
        await syncer.sync(0)
    monkeypatch.setattr(syncer, "_context", context)
    syncer.close()


async def test_a_sync_whose_end_can_not_be_heard_of_is_an_error(probe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait for it may be endless."""
    if sys.platform != "linux":
        return
    syncer = KernelSyncer(asyncio.get_running_loop(), probe)
    fd = os.open(probe, os.O_RDWR)

    class Deaf:
        fileno = syncer._context.fileno
        submit = syncer._context.submit
        poll = syncer._context.poll

        def process_events(self, min_requests: int, timeout: int) -> int:
            raise SystemError("Invalid argument")

    context = syncer._context
    monkeypatch.setattr(syncer, "_context", Deaf())
    with pytest.raises(OSError, match="Invalid argument"):
        await asyncio.wait_for(syncer.sync(fd), 30)
    monkeypatch.setattr(syncer, "_context", context)
    os.close(fd)
    syncer.close()
