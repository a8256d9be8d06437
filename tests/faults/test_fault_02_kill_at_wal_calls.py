"""Fault 2: SIGKILL at each system call of the log in turn. A restart drains, and every event is stored once.

One server after the other on the same directory and the same ClickHouse, so that each
case costs one start; the events are those of all cases so far.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.clickhouse import ClickHouseFront
from tests.e2e.load import Load
from tests.faults.event_counts import assert_every_event_stored_once_everywhere
from tests.faults.strace import Injection, attached, killed_at, thread_that_opens, under
from tests.server import Client, RunningServer

WAIT_S = 30.0
BATCH_EVENTS = 200
NO_KERNEL_SYNC = Injection("io_setup", "error=ENOSYS", "1+")


class Case(msgspec.Struct, frozen=True):
    """Where to kill: `call` of one of the server's threads, on the open segment's file if `on_segment`."""

    injections: tuple[Injection, ...]
    thread: str
    on_segment: bool
    shown: str


def case(name: str, shown: str, *injections: Injection, thread: str, on_segment: bool = False) -> object:
    return pytest.param(Case(injections, thread, on_segment, shown), id=name)


KILLS = [
    case("openat of a segment", r'.new"', Injection("openat"), thread="wal"),
    case("write of its head", "AWAL", Injection("write"), thread="wal"),
    case("fsync of the file", "fsync(", Injection("fsync"), thread="wal"),
    case("rename of the file", "rename", Injection("rename,renameat,renameat2"), thread="wal"),
    case("fsync of the directory", "fsync(", Injection("fsync", when="2"), thread="wal"),
    case("writev of a frame", "writev(", Injection("writev"), thread="loop", on_segment=True),
    case("writev of a later frame", "writev(", Injection("writev", when="3"), thread="loop", on_segment=True),
    case("io_submit", "io_submit(", Injection("io_submit"), thread="loop"),
    case("io_submit of a later frame", "io_submit(", Injection("io_submit", when="4"), thread="loop"),
    case(
        "ftruncate after a failed write",
        "ftruncate(",
        Injection("writev", "error=ENOSPC", "2"),
        Injection("ftruncate"),
        thread="loop",
        on_segment=True,
    ),
    case("close", "close(", Injection("close"), thread="loop", on_segment=True),
    case("unlink", "unlink(", Injection("unlink"), thread="all", on_segment=True),
]


class KilledServer:
    """The server of all cases, and what was sent to it and acknowledged by it so far."""

    def __init__(self, server: RunningServer, front: ClickHouseFront) -> None:
        self.server = server
        self.front = front
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()

    @property
    def segment(self) -> Path:
        return sorted((self.server.data_dir / "wal").glob("*.wal"))[-1]

    async def load_until_killed(self) -> None:
        load = Load(self.server, workers=4)
        async with load:
            code = await asyncio.to_thread(self.server.wait, WAIT_S)
        self.add(load)
        assert code == -signal.SIGKILL

    def add(self, load: Load) -> None:
        self.sent |= load.sent
        self.acknowledged |= load.acknowledged

    async def restart_and_check(self) -> None:
        await asyncio.to_thread(self.server.restart)
        async with Client(self.server) as client:
            await client.flushed()
        await assert_every_event_stored_once_everywhere(self.server, self.acknowledged, self.sent)
        assert not list((self.server.data_dir / "wal" / "quarantine").glob("*"))
        assert not list((self.server.data_dir / "dead-letters").glob("*"))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, module_front: ClickHouseFront) -> Iterator[KilledServer]:
    settings = {
        "clickhouse_url": module_front.start(),
        "ingest_flush_interval_ms": "3600000",
        "ingest_batch_events": str(BATCH_EVENTS),
    }
    with RunningServer(tmp_path_factory.mktemp("server"), settings) as server:
        yield KilledServer(server, module_front)


async def thread_of(killed: KilledServer, name: str, trace: Path) -> int:
    """The thread that opens segments shows itself when one is opened."""
    pid = killed.server.pid
    load = Load(killed.server, workers=1)
    if name != "wal":
        async with load:
            await load.until_acknowledged(5)
        killed.add(load)
        return pid
    with attached(pid, [Injection("openat", "delay_enter=1")], trace, others=True):
        async with load:
            await load.until_acknowledged(5)
    killed.add(load)
    return thread_that_opens(pid, ".new", trace)


@pytest.mark.parametrize("kill", KILLS)
async def test_fault_02_killed_at(kill: Case, killed: KilledServer, tmp_path: Path) -> None:
    thread = await thread_of(killed, kill.thread, tmp_path / "opening")
    paths = [killed.segment] if kill.on_segment else []
    # On a slow disk another thread than the loop writes to the segment.
    others = kill.thread == "all" or kill.on_segment
    with attached(thread, kill.injections, tmp_path / "trace", paths, others=others):
        await killed.load_until_killed()

    assert kill.shown in killed_at(tmp_path / "trace"), (tmp_path / "trace").read_text()
    await killed.restart_and_check()


async def test_fault_02_killed_at_fdatasync_of_the_thread_that_syncs(killed: KilledServer, tmp_path: Path) -> None:
    """Where the kernel has no asynchronous I/O, or says so."""
    assert killed.server.terminate() == 0
    killed.server.under = under([NO_KERNEL_SYNC, Injection("fdatasync", when="5")], tmp_path / "trace")
    await asyncio.to_thread(killed.server.restart)
    killed.server.under = []
    await killed.load_until_killed()

    assert killed_at(tmp_path / "trace").startswith("fdatasync(")
    await killed.restart_and_check()


@pytest.mark.parametrize("call", ["ftruncate", "fsync"])
async def test_fault_02_killed_while_it_repairs_a_torn_tail(call: str, killed: KilledServer, tmp_path: Path) -> None:
    await thread_of(killed, "loop", tmp_path / "opening")
    segment = killed.segment
    killed.server.kill()
    with segment.open("ab") as file:
        file.write(b"\x20\x00\x00\x00half")
    killed.server.under = under([Injection(call)], tmp_path / "trace", [segment])
    with pytest.raises(AssertionError, match="did not start"):
        await asyncio.to_thread(killed.server.restart)
    killed.server.under = []

    assert killed_at(tmp_path / "trace").startswith(f"{call}(")
    await killed.restart_and_check()
