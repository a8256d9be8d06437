"""The collecting side's counters, in Prometheus's conventions."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class CollectMetrics:
    """One set per process, registered in the registry it is given."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "ingest_events_total",
            "Events by outcome: accepted, dropped, rejected, failed.",
            ["outcome"],
            registry=registry,
        )
        self.dropped = Counter("ingest_dropped_total", "Events dropped, by reason.", ["reason"], registry=registry)
        self.clamped = Counter(
            "ingest_clamped_timestamps_total", "Events whose time was moved into the allowed span.", registry=registry
        )
        self.accepted = self.events.labels("accepted")
        self.rejected = self.events.labels("rejected")
        self.failed = self.events.labels("failed")
        self.dropped_events = self.events.labels("dropped")
