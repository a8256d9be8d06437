"""Recovery of the write-ahead log of an earlier run: every whole frame is kept, whatever lies around it.

A torn tail of a WAL segment that was open (the newest one, and the newest of past months),
a frame that reaches beyond the file's end, was never acknowledged and is cut off. A last
frame that is there whole but doesn't prove itself is either the same, after a power cut, or
damage: that can't be told, so a copy is kept before it is cut. Anything else that can't be read
is damage: the file is kept in `quarantine/`, counted and logged, and its good frames are
delivered all the same. That includes files that hold nothing: a segment gets its name only
once its head is on disk, and its successor only once it holds a frame.
Nothing that may hold an acknowledged event is ever removed here.
"""

from __future__ import annotations

import errno
import filecmp
import logging
import os
import shutil
from pathlib import Path

from analytics_server.batch_ids import is_historic
from analytics_server.errors import WalError
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal import segment
from analytics_server.ingest.wal.segment import Sealed
from analytics_server.ingest.wal.segment_file import DRAFT, sync_directory

log = logging.getLogger(__name__)

LOCK = "lock"
MENDED = ".mended"
"""Suffix of a segment that `doctor` is rewriting."""
OWN_FILES = frozenset({LOCK})
MOST_NAMES = 10


def recover(directory: Path, metrics: IngestMetrics) -> list[Sealed]:
    """The WAL segments to deliver, oldest first. Raises `WalError` for those of a newer program."""
    found, removed = [], 0
    for draft in directory.glob(f"*{DRAFT}"):  # the process died before the segment took its first frame
        log.info("removed an unfinished wal segment", extra={"file": draft.name, "bytes": draft.stat().st_size})
        draft.unlink()
        removed += 1
    if strangers := foreign_files(directory):
        log.warning(
            "files that are no wal segments lie in the wal's directory", extra={"files": strangers[:MOST_NAMES]}
        )
    paths = sorted(directory.glob(f"*{segment.SUFFIX}"))
    newest = newest_of_each_kind(paths)
    for path in paths:
        if not path.is_file():
            _quarantine(path, directory, metrics, "It is no regular file.")
            continue
        try:
            scan = segment.scan(path)
        except segment.NewerSegment as error:
            raise WalError(f"{path}: {error.message} Start the newer program, so that no event is lost.") from error
        except segment.SegmentError as error:
            _quarantine(path, directory, metrics, error.message)
            continue
        except OSError as error:
            if error.errno != errno.EIO:  # anything else may be mended: nothing is set aside for it
                raise WalError(
                    f"The WAL segment {path} can't be read: {error.strerror}. "
                    "Make it readable for the server's user; it may hold events."
                ) from error
            _quarantine(path, directory, metrics, "The disk can't read it.")
            continue
        if scan.damaged_bytes or (scan.torn_bytes and path not in newest):
            metrics.wal_errors.labels("damaged_frame").inc()
            keep_copy(path, directory / "quarantine")
            log.error(
                "wal segment damaged, a copy is kept",
                extra={"segment": path.name, "unreadable_bytes": scan.damaged_bytes + scan.torn_bytes},
            )
        elif path in newest:
            if scan.torn_bytes and _is_whole(path, scan.good_bytes):
                metrics.wal_errors.labels("torn_tail").inc()
                _keep_before_cut(path, directory / "quarantine")
                log.error(
                    "last frame of the newest wal segment can't be read, a copy is kept",
                    extra={"segment": path.name, "unreadable_bytes": scan.torn_bytes},
                )
            _settle(path, scan.good_bytes)
        if not scan.rows:
            if path in newest or scan.damaged_bytes or scan.torn_bytes:  # of the latter a copy is kept
                log.info("removed a wal segment without events", extra={"segment": path.name})
                path.unlink()
                removed += 1
            else:
                _quarantine(path, directory, metrics, "It holds no events, although a later segment exists.")
            continue
        size = os.stat(path).st_size
        found.append(Sealed(path, scan.header.batch_id, scan.rows, size, None, verify_first=True))
    if removed:  # a power cut must not bring one back beside a later segment
        sync_directory(directory)
    return found


def foreign_files(directory: Path) -> list[str]:
    """Names in the WAL's directory that this program doesn't write; they are left alone."""
    return sorted(
        entry.name
        for entry in os.scandir(directory)
        if entry.is_file(follow_symlinks=False)
        and entry.name not in OWN_FILES
        and not entry.name.startswith(".")
        and not entry.name.endswith((segment.SUFFIX, DRAFT, MENDED))
    )


def newest_of_each_kind(paths: list[Path]) -> set[Path]:
    """The WAL segments that may have been open: the newest one, and the newest of past months."""
    by_kind = {path.stem.isdecimal() and is_historic(int(path.stem)): path for path in paths}
    return set(by_kind.values())


def _is_whole(path: Path, start: int) -> bool:
    """Is the bad frame that begins here all there: by its length, or by its checksum if the length is wrong?"""
    with path.open("rb") as file:
        file.seek(start)
        head, payload = file.read(segment.FRAME_HEAD_BYTES), file.read()
    if not payload:
        return False
    if 0 < int.from_bytes(head[:4], "little") <= len(payload):
        return True
    return segment.frame_head(int.from_bytes(head[8:], "little"), [payload])[4:] == head[4:]


def _settle(path: Path, size: int) -> None:
    """The newest segment as it now counts, made durable.

    Its last frame may never have been synced, and after a power cut a torn tail of what is then an older segment
    would look like damage. A copy that is a link to it stays as it is.
    """
    stat = os.stat(path)
    if stat.st_nlink > 1 and size < stat.st_size:
        _copy(path, path, size)
        return
    with path.open("rb+") as file:
        file.truncate(size)
        os.fsync(file.fileno())


def keep(path: Path, directory: Path) -> Path:
    """Move a file to a directory, which may lie on another file system; it is durable there before it goes here.

    Another file of that name, with other bytes, stays there as `….wal.1` (which nothing takes for a WAL segment).
    """
    target = _made(directory) / path.name
    linked = target.exists() and target.samefile(path)
    if not linked:
        _make_room(target, path)
    try:
        if linked:  # renaming it would do nothing
            path.unlink()
        else:
            os.replace(path, target)
    except OSError:
        _copy(path, target)
        path.unlink()
    else:
        sync_directory(directory)
    return target


def _make_room(target: Path, path: Path) -> None:
    if target.exists() and not filecmp.cmp(path, target, shallow=False):
        number = 1
        while (other := target.with_name(f"{target.name}.{number}")).exists():
            number += 1
        target.rename(other)


def _quarantine(path: Path, directory: Path, metrics: IngestMetrics, reason: str) -> None:
    target = keep(path, directory / "quarantine")
    metrics.wal_errors.labels("quarantined_segment").inc()
    log.error("wal segment can't be read, kept aside", extra={"file": str(target), "reason": reason})


def keep_copy(path: Path, directory: Path) -> None:
    """A damaged file stays in a directory for a person to look at; its good frames are delivered."""
    target = _made(directory) / path.name
    try:
        os.link(path, target)
    except FileExistsError:  # found before, and not delivered since
        return
    except OSError:  # another file system, or one without hard links
        _copy(path, target)
    else:
        sync_directory(directory)


def _keep_before_cut(path: Path, directory: Path) -> None:
    """A real copy: a link would be cut too. One that was kept before holds all of this and more."""
    target = _made(directory) / path.name
    if not target.exists():
        _copy(path, target)


def _made(directory: Path) -> Path:
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_directory(directory.parent)
    return directory


def _copy(path: Path, target: Path, size: int | None = None) -> None:
    """All of it (or its first bytes) or nothing, durable when it returns."""
    draft = target.with_suffix(target.suffix + ".new")
    shutil.copyfile(path, draft)
    with draft.open("rb+") as copy:
        os.fchmod(copy.fileno(), 0o600)
        if size is not None:
            copy.truncate(size)
        os.fsync(copy.fileno())
    draft.rename(target)
    sync_directory(target.parent)
