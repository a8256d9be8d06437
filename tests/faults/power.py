"""A disk that forgets what was not synced: what a power cut would leave of a directory, at every moment.

The log runs on a real directory, and this watches the calls it makes. A file's bytes count
as kept once a sync of that file has ended, a name once its directory was synced. Of all
else any part may have reached the disk: each page is taken from any of the states the
file has had since its last sync, its length too, and each name may be there or not.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar
from unittest import mock

import msgspec

from analytics_server.ingest.wal import segment_file

P = ParamSpec("P")
T = TypeVar("T")

PAGE_BYTES = 512
"""The smallest unit that a disk writes whole."""


class Moment(msgspec.Struct, frozen=True):
    """What may be on disk: of each file all states since its last sync (that one first), of each name where it led."""

    files: dict[int, list[bytes]]
    names: dict[str, list[int | None]]
    acknowledged: frozenset[str]

    def leave(self, directory: Path, chance: random.Random) -> None:
        """Write one of the possible remains of this moment to an empty directory."""
        directory.mkdir()
        for name, led_to in self.names.items():
            number = chance.choice(led_to)
            if number is not None:
                (directory / name).write_bytes(_remains(self.files[number], chance))


def _remains(states: list[bytes], chance: random.Random) -> bytes:
    length = len(chance.choice(states))
    pages = [
        chance.choice(states)[at : at + PAGE_BYTES].ljust(PAGE_BYTES, b"\0") for at in range(0, length, PAGE_BYTES)
    ]
    return b"".join(pages)[:length]


class Disk:
    """Watches one directory while used as a context. `keeps_names` false: syncs of the directory do nothing."""

    def __init__(self, directory: Path, *, keeps_names: bool = True) -> None:
        self.moments: list[Moment] = []
        self.acknowledged: set[str] = set()
        self.full_after: int | None = None
        """So many bytes of the next frame fit, and then no more."""
        self._directory = directory
        self._keeps_names = keeps_names
        self._lock = threading.RLock()
        self._patches = ExitStack()
        self._by_inode: dict[int, int] = {}
        self._states: dict[int, list[bytes]] = {}
        self._led_to: dict[str, list[int | None]] = {}

    def __enter__(self) -> Self:
        for name in ("write", "unlink", "rename", "ftruncate", "close"):
            self._watch(name)
        real_open, real_writev = os.open, os.writev

        def opened(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            if not flags & os.O_EXCL:
                return real_open(path, flags, *rest, **named)
            with self._lock:
                fd = real_open(path, flags, *rest, **named)
                self._by_inode.pop(os.fstat(fd).st_ino, None)  # a removed file's number may be used again
                self._look()
            return fd

        def writev(fd: int, pieces: list[bytes]) -> int:
            if self.full_after is not None:
                fits, self.full_after = self.full_after, None
                os.write(fd, b"".join(pieces)[:fits])
                raise OSError(28, "No space left on device")
            written = real_writev(fd, pieces)
            self._look()
            return written

        def fsync(fd: int) -> None:
            self.synced(fd, self.content(fd))

        for name, call in (("open", opened), ("writev", writev), ("fsync", fsync), ("fdatasync", fsync)):
            self._patches.enter_context(mock.patch.object(os, name, call))
        self._patches.enter_context(mock.patch.object(segment_file, "sync_data", fsync))
        self._look()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patches.close()

    def _watch(self, name: str) -> None:
        real: Callable[..., Any] = getattr(os, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            result = real(*arguments, **named)
            self._look()
            return result

        self._patches.enter_context(mock.patch.object(os, name, watched))

    def acknowledge(self, title: str) -> None:
        self.acknowledged.add(title)
        self._look()

    def content(self, fd: int) -> bytes | None:
        """What a file holds now; None for a directory."""
        path = Path(f"/proc/self/fd/{fd}")
        return None if path.is_dir() else path.read_bytes()

    def synced(self, fd: int, content: bytes | None) -> None:
        """A sync that began when the file held `content` has ended."""
        with self._lock:
            self._look()
            if content is None:
                if self._keeps_names and Path(f"/proc/self/fd/{fd}").resolve() == self._directory.resolve():
                    self._led_to = {
                        name: states[-1:] for name, states in self._led_to.items() if states[-1] is not None
                    }
            elif (number := self._by_inode.get(os.fstat(fd).st_ino)) is not None:
                states = self._states[number]
                newest = len(states) - 1 - states[::-1].index(content)
                del states[:newest]
            self._look()

    def _look(self) -> None:
        """Note what has changed, and what a power cut would leave now."""
        with self._lock:
            now: dict[str, int] = {}
            for entry in os.scandir(self._directory):
                if not entry.is_file():
                    continue
                number = self._by_inode.setdefault(entry.inode(), len(self._states))
                now[entry.name] = number
                states = self._states.setdefault(number, [b""])
                content = Path(entry.path).read_bytes()
                if states[-1] != content:
                    states.append(content)
            for name in self._led_to.keys() | now.keys():
                led_to = self._led_to.setdefault(name, [None])
                if led_to[-1] != now.get(name):
                    led_to.append(now.get(name))
            moment = Moment(
                {number: list(states) for number, states in self._states.items()},
                {name: list(led_to) for name, led_to in self._led_to.items()},
                frozenset(self.acknowledged),
            )
            if not self.moments or moment != self.moments[-1]:
                self.moments.append(moment)


class WatchedSyncer:
    """Syncs to a `Disk`. `honest` false: it says so and does nothing. While `held`, no sync ends."""

    def __init__(self, disk: Disk, *, honest: bool = True) -> None:
        self._disk = disk
        self._honest = honest
        self.held = False

    def sync(self, fd: int) -> asyncio.Future[None]:
        return asyncio.ensure_future(self._sync(fd, self._disk.content(fd)))

    async def _sync(self, fd: int, content: bytes | None) -> None:
        await asyncio.sleep(0)
        if self.held:
            await asyncio.Event().wait()
        if self._honest:
            self._disk.synced(fd, content)

    def close(self) -> None:
        pass
