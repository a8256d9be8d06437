"""How much of the disk the write-ahead log takes, and what of it is of past months (historic).

Changed on the loop and by threads that delete segments, so under a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal.segment import Sealed


class LogSize:
    """Bytes and segments, told to the metrics."""

    def __init__(self, metrics: IngestMetrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self.bytes = 0
        self.historic_bytes = 0
        self.historic_waiting = 0
        """Sealed historic segments that are not delivered."""

    def begin(self, left_over: Iterable[Sealed]) -> None:
        """What an earlier run left."""
        found = list(left_over)
        with self._lock:
            self.bytes = sum(sealed.size for sealed in found)
            self.historic_bytes = sum(sealed.size for sealed in found if sealed.historic)
            self.historic_waiting = sum(sealed.historic for sealed in found)
        self._metrics.wal_segments.set(len(found))
        self._metrics.wal_bytes.set(self.bytes)

    def grow(self, size: int, *, historic: bool) -> None:
        """A segment has become larger by so many bytes."""
        with self._lock:
            self.bytes += size
            if historic:
                self.historic_bytes += size
        self._metrics.wal_bytes.set(self.bytes)

    def opened(self, size: int, *, historic: bool) -> None:
        """There is a segment more."""
        self.grow(size, historic=historic)
        self._metrics.wal_segments.inc()

    def sealed(self, sealed: Sealed) -> None:
        """An open segment was closed: it waits for delivery."""
        with self._lock:
            self.historic_waiting += sealed.historic

    def gone(self, sealed: Sealed) -> None:
        """A sealed segment is in the log no more."""
        with self._lock:
            self.historic_waiting -= sealed.historic
        self.grow(-sealed.size, historic=sealed.historic)
        self._metrics.wal_segments.dec()
