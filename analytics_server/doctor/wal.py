"""Checks of the write-ahead log: its segments, and the free space on its disk.

Reads every frame of every WAL segment. While a server runs, segments come and go and the
newest is still growing: that is no fault, and nothing is changed then.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from analytics_server.batch_ids import created_ms
from analytics_server.config import Config
from analytics_server.doctor.lock import DirectoryLock
from analytics_server.doctor.report import BaseCheck, Facts, Finding, count, size, span
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal import segment
from analytics_server.ingest.wal.recovery import (
    MENDED,
    MOST_NAMES,
    foreign_files,
    keep_copy,
    newest_of_each_kind,
    recover,
)
from analytics_server.ingest.wal.segment_file import sync_directory
from analytics_server.rollups.rebuild import Advance

QUARANTINE = "quarantine"
OLD_S = 600.0
"""A segment that waits for longer while a server runs: ClickHouse is behind, or away."""
NEARLY = 0.8


@dataclass(frozen=True, slots=True)
class ScannedSegment:
    """One file of the log as it lies there. `fault` is why it can't be read, "" if it can."""

    path: Path
    batch_id: int
    events: int
    bytes: int
    damaged_bytes: int
    torn_bytes: int
    fault: str

    @property
    def created_s(self) -> float:
        """Unix time of its creation, which its name begins with."""
        return created_ms(int(self.path.stem)) / 1000 if self.path.stem.isdigit() else 0.0


def segments(directory: Path, advance: Advance = lambda what, done, total: None) -> list[ScannedSegment]:
    """All WAL segments, oldest first, each read to its end; what vanishes meanwhile was delivered."""
    found = []
    paths = sorted(directory.glob(f"*{segment.SUFFIX}")) if directory.is_dir() else []
    for number, path in enumerate(paths):
        advance("WAL segments", number, len(paths))
        try:
            held = os.stat(path).st_size
            try:
                scan = segment.scan(path)
            except segment.SegmentError as error:
                found.append(ScannedSegment(path, 0, 0, held, 0, 0, error.message))
                continue
        except FileNotFoundError:
            if path.is_symlink():
                found.append(ScannedSegment(path, 0, 0, 0, 0, 0, "It is a link that leads nowhere."))
            continue
        except OSError as error:
            found.append(ScannedSegment(path, 0, 0, 0, 0, 0, f"It can't be read ({error.strerror})."))
            continue
        found.append(
            ScannedSegment(path, scan.header.batch_id, scan.rows, held, scan.damaged_bytes, scan.torn_bytes, fault="")
        )
    return found


class WalCheck(BaseCheck):
    """Who has the log, is every frame of it readable, how old and how large is it."""

    name = "wal"

    def __init__(self, config: Config, lock: DirectoryLock, now: float, advance: Advance) -> None:
        self._directory = config.wal_dir
        self._most_bytes = config.ingest.wal_max_mb * 1_048_576
        self._lock = lock
        self._now = now
        self._advance = advance

    async def examine(self) -> Finding:
        """Read every segment to its end."""
        if not self._directory.is_dir():
            return self.ok(f"There is no log yet in {self._directory}.", segments=0, events=0)
        found = await asyncio.to_thread(segments, self._directory, self._advance)
        running = self._lock.busy
        newest = newest_of_each_kind([one.path for one in found])
        strangers = await asyncio.to_thread(foreign_files, self._directory)
        damaged = [
            one
            for one in found
            if one.fault or one.damaged_bytes or ((one.torn_bytes or not one.events) and one.path not in newest)
        ]
        if running:
            damaged = [one for one in damaged if one.path not in newest]  # a frame is being written
        torn_bytes = 0 if running else sum(one.torn_bytes for one in found if one.path in newest)
        events, held = sum(one.events for one in found), sum(one.bytes for one in found)
        oldest_s = max(0.0, self._now - found[0].created_s) if found and found[0].created_s else 0.0
        facts: Facts = {
            "server_running": int(running),
            "segments": len(found),
            "events": events,
            "bytes": held,
            "oldest_age_s": round(oldest_s, 1),
            "damaged_segments": [one.path.name for one in damaged],
            "torn_bytes": torn_bytes,
            "foreign_files": strangers[:MOST_NAMES],
        }
        waiting = f"{count(len(found), 'WAL segment')} with {count(events, 'event')} ({size(held)})"
        if damaged:
            unreadable = sum(one.damaged_bytes + one.torn_bytes for one in damaged)
            fault = damaged[0].fault.rstrip(".") or "it holds no events, although a later one exists"
            lost = f"{size(unreadable)} unreadable" if unreadable else fault
            return self.error(
                f"{count(len(damaged), 'WAL segment is', 'WAL segments are')} damaged, "
                f"{damaged[0].path.name} first: {lost}.",
                "A start of the server delivers the good frames and keeps a copy; --repair does the same now. "
                "Look at the disk: this doesn't happen by itself."
                if not running
                else "The server delivers the good frames and keeps a copy. Look at the disk.",
                **facts,
            )
        if held >= self._most_bytes * NEARLY:
            return self.error(
                f"The log holds {size(held)} of {size(self._most_bytes)} ([ingest] wal_max_mb): "
                "beacons get 503 when it is full.",
                "Bring ClickHouse back or help it keep up; raise wal_max_mb if the disk has room.",
                **facts,
            )
        if torn_bytes:
            return self.warning(
                f"The newest WAL segment ends in {size(torn_bytes)} that are no whole group of events.",
                "A write was cut short, and never acknowledged: the next start cuts it off, --repair does so now. "
                "If it may have been whole, a copy is kept in quarantine.",
                **facts,
            )
        if strangers:
            return self.warning(
                f"{count(len(strangers), 'file')} in {self._directory} {'is' if len(strangers) == 1 else 'are'} "
                f"no part of the log: {strangers[0]} first. The server leaves them alone.",
                "Move them elsewhere; if one was a WAL segment that was renamed, give it back its name (20 digits and "
                f"{segment.SUFFIX}) while the server is stopped, and it is delivered.",
                **facts,
            )
        if running and oldest_s > OLD_S:
            return self.warning(
                f"A server is running, and {waiting} wait for ClickHouse, the oldest for {span(oldest_s)}.",
                "See that ClickHouse answers, and the server's log for why inserts fail.",
                **facts,
            )
        if found and not running:
            return self.warning(
                f"No server is running, and {waiting} wait for delivery, the oldest for {span(oldest_s)}.",
                "Start the server: it delivers them. Don't delete the directory before.",
                **facts,
            )
        who = "A server is running" if running else "No server is running"
        return self.ok(f"{who}; {waiting if found else 'the log is empty'}.", **facts)

    async def repair(self) -> str:
        """Do what a start would: cut off a torn end, put unreadable segments into quarantine."""
        if self._lock.busy or not self._directory.is_dir():
            return ""
        return await asyncio.to_thread(mend, self._directory)


def mend(directory: Path) -> str:
    """What a start of the server would do, and damaged segments rewritten with their good frames only."""
    before = segments(directory)
    recover(directory, IngestMetrics(CollectorRegistry()))
    rewritten = 0
    for one in segments(directory):
        if one.damaged_bytes or one.torn_bytes:
            keep_copy(one.path, directory / QUARANTINE)
            _rewrite(one.path)
            rewritten += 1
    done = []
    if rewritten:
        done.append(f"rewrote {count(rewritten, 'damaged segment')} with the good frames")
    aside = [one for one in before if (directory / QUARANTINE / one.path.name).exists() and not one.path.exists()]
    if gone := sum(not one.events for one in aside):
        done.append(f"put {count(gone, 'unreadable segment')} aside")
    if any(one.torn_bytes for one in before) and not done:
        done.append("cut off the torn end")
    return " and ".join(done)


def _rewrite(path: Path) -> None:
    """The head and the good frames under the same name; the old bytes stay in quarantine."""
    fresh = path.with_suffix(MENDED)
    with path.open("rb") as old, fresh.open("wb") as new:
        os.fchmod(new.fileno(), 0o600)
        new.write(segment.read_head(path).content)
        for end, payload in segment.frames(path):
            start = end - segment.FRAME_HEAD_BYTES - len(payload)
            old.seek(start)
            new.write(old.read(end - start))
        new.flush()
        os.fsync(new.fileno())
    os.replace(fresh, path)
    sync_directory(path.parent)


class DiskCheck(BaseCheck):
    """Room on the disks of the data and of the log."""

    name = "disk"

    def __init__(self, config: Config) -> None:
        self._places = {config.data_dir, config.wal_dir}
        self._least = config.ingest.wal_min_free_mb * 1_048_576

    async def examine(self) -> Finding:
        """Compare the disk's free space with the limit of the log."""
        free, total, place = min((*_room(place), str(place)) for place in self._places)
        facts: Facts = {"free_bytes": free, "total_bytes": total, "least_bytes": self._least, "directory": place}
        said = f"{size(free)} of {size(total)} are free in {place}"
        if free < self._least:
            return self.error(
                f"{said}, less than [ingest] wal_min_free_mb: beacons get 503.",
                "Make room. Copies in quarantine/ and dead-letters/ can be moved elsewhere.",
                **facts,
            )
        if free < max(2 * self._least, total // 20):
            return self.warning(
                f"{said}; below {size(self._least)} beacons get 503.", "Make room before it is needed.", **facts
            )
        return self.ok(f"{said}.", **facts)


def _room(place: Path) -> tuple[int, int]:
    while not place.exists():
        place = place.parent
    usage = shutil.disk_usage(place)
    return usage.free, usage.total
