"""What an earlier run left in the log: every whole frame is kept, whatever lies around it.

A torn tail of the newest WAL segment was never acknowledged and is cut off. Anything
else that can't be read is damage: the file is kept in `quarantine/`, counted and
logged, and its good frames are delivered all the same. Nothing that may hold an
acknowledged event is ever removed here.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path

from analytics_server.errors import WalError
from analytics_server.ingest import segment
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.segment import Sealed
from analytics_server.ingest.segment_file import sync_directory

log = logging.getLogger(__name__)


def recover(directory: Path, metrics: IngestMetrics) -> list[Sealed]:
    """The WAL segments to deliver, oldest first. Raises `WalError` for those of a newer program."""
    found = []
    paths = sorted(directory.glob(f"*{segment.SUFFIX}"))
    for path in paths:
        try:
            scan = segment.scan(path)
        except segment.TornHead:  # the process died before the segment took its first frame
            path.unlink()
            continue
        except segment.NewerSegment as error:
            raise WalError(f"{path}: {error.message} Start the newer program, so that no event is lost.") from error
        except segment.SegmentError as error:
            _quarantine(path, directory, metrics, error.message)
            continue
        except OSError as error:
            if error.errno != errno.EIO:  # anything else may be mended: nothing is set aside for it
                raise
            _quarantine(path, directory, metrics, "The disk can't read it.")
            continue
        if scan.damaged_bytes or (scan.torn_bytes and path is not paths[-1]):
            metrics.wal_errors.labels("damaged_frame").inc()
            keep_copy(path, directory / "quarantine")
            log.error(
                "wal segment damaged, a copy is kept",
                extra={"segment": path.name, "unreadable_bytes": scan.damaged_bytes + scan.torn_bytes},
            )
        elif path is paths[-1]:
            _settle(path, scan.good_bytes)
        if not scan.rows:
            path.unlink()
            continue
        size = os.stat(path).st_size
        found.append(Sealed(path, scan.header.batch_id, scan.rows, size, None, verify_first=True))
    return found


def _settle(path: Path, size: int) -> None:
    """The newest segment as it now counts, made durable.

    Its last frame may never have been synced, and after a power cut a torn tail of what is then an older segment
    would look like damage.
    """
    with path.open("rb+") as file:
        file.truncate(size)
        os.fsync(file.fileno())


def keep(path: Path, directory: Path) -> Path:
    """Move a file to a directory, which may lie on another file system; it is durable there before it goes here."""
    target = _made(directory) / path.name
    try:
        os.replace(path, target)
    except OSError:
        _copy(path, target)
        path.unlink()
    else:
        sync_directory(directory)
    return target


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


def _made(directory: Path) -> Path:
    if not directory.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        sync_directory(directory.parent)
    return directory


def _copy(path: Path, target: Path) -> None:
    """Durable when it returns."""
    shutil.copyfile(path, target)
    with target.open("rb") as copy:
        os.fsync(copy.fileno())
    sync_directory(target.parent)
