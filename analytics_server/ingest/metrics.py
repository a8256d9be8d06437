"""The ingest side's counters, in Prometheus's conventions."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SYNC_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
FLUSH_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCH_BUCKETS = (1, 10, 100, 1_000, 5_000, 10_000, 50_000, 100_000)

WAL_FAULTS = ("damaged_frame", "disk_full", "fsync", "quarantined_segment", "torn_tail", "write")
FLUSH_OUTCOMES = (
    "ambiguous", "badrows", "failed", "fatal", "ok", "partial", "retryable", "timeout", "unreconciled",
)  # fmt: skip
"""Each is there from the start, with 0: an alert on a series that does not exist never fires on its first increase."""


class IngestMetrics:
    """One set per process, registered in the registry it is given."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.wal_bytes = Gauge("wal_bytes", "Bytes of the write-ahead log on disk.", registry=registry)
        self.disk_free_bytes = Gauge(
            "wal_disk_free_bytes", "Free bytes of the disk that holds the write-ahead log.", registry=registry
        )
        self.wal_segments = Gauge("wal_segments", "WAL segments on disk.", registry=registry)
        self.wal_oldest_age = Gauge(
            "wal_oldest_age_seconds", "Age of the oldest WAL segment not yet in ClickHouse.", registry=registry
        )
        self.wal_fsync_seconds = Histogram(
            "wal_fsync_duration_seconds", "Time of one fdatasync.", buckets=SYNC_BUCKETS, registry=registry
        )
        self.wal_commit_seconds = Histogram(
            "wal_commit_duration_seconds", "Time of one commit group.", buckets=SYNC_BUCKETS, registry=registry
        )
        self.wal_errors = Counter("wal_errors_total", "Faults of the write-ahead log.", ["kind"], registry=registry)
        self.flush_seconds = Histogram(
            "flush_duration_seconds", "Time of one flush.", buckets=FLUSH_BUCKETS, registry=registry
        )
        self.flush_events = Histogram(
            "flush_batch_events", "Events in one batch.", buckets=BATCH_BUCKETS, registry=registry
        )
        self.flush_attempts = Counter("flush_attempts_total", "Inserts by outcome.", ["outcome"], registry=registry)
        for kind in WAL_FAULTS:
            self.wal_errors.labels(kind)
        for outcome in FLUSH_OUTCOMES:
            self.flush_attempts.labels(outcome)
        self.flush_ambiguous = Counter(
            "flush_ambiguous_total", "Batches whose outcome had to be verified.", registry=registry
        )
        self.dead_letter_events = Counter(
            "dead_letter_events_total", "Events ClickHouse refused for good, kept aside.", registry=registry
        )
