"""The collecting side's counters, in Prometheus's conventions.

Plain numbers behind a collector: only the loop writes them, and a beacon should not
pay for a lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily

from analytics_server.collect.formats.warnings import WarningCode
from analytics_server.collect.steps.parts import StepCount


class CollectMetrics:
    """One set per process, registered in the registry it is given."""

    __slots__ = ("accepted", "bots", "clamped", "dropped", "failed", "rejected", "steps", "warnings")

    def __init__(self, registry: CollectorRegistry) -> None:
        self.accepted = 0
        self.rejected = 0
        self.failed = 0
        self.clamped = 0
        self.dropped: dict[str, int] = {}
        self.warnings: dict[WarningCode, int] = dict.fromkeys(WarningCode, 0)
        self.steps: Mapping[str, StepCount] = {}
        """The pipeline's own counts by the steps' names."""
        self.bots: Mapping[str, int] = {}
        """Its counts of bots by their kind."""
        registry.register(self)

    def drop(self, reason: str, events: int) -> None:
        """Count events dropped for one reason."""
        self.dropped[reason] = self.dropped.get(reason, 0) + events

    def warn(self, counts: dict[WarningCode, int]) -> None:
        """Count the warnings of one request."""
        for code, number in counts.items():
            self.warnings[code] += number

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        events = CounterMetricFamily("ingest_events", "Events by outcome.", labels=["outcome"])
        events.add_metric(["accepted"], self.accepted)
        events.add_metric(["dropped"], sum(self.dropped.values()))
        events.add_metric(["rejected"], self.rejected)
        events.add_metric(["failed"], self.failed)
        yield events
        dropped = CounterMetricFamily("ingest_dropped", "Events dropped, by reason.", labels=["reason"])
        for reason, count in sorted(self.dropped.items()):
            dropped.add_metric([reason], count)
        yield dropped
        bots = CounterMetricFamily("ingest_bots", "Events dropped as a bot's, by the kind of bot.", labels=["kind"])
        for kind, count in sorted(self.bots.items()):
            bots.add_metric([kind], count)
        yield bots
        steps = CounterMetricFamily(
            "ingest_step_events", "Events that a step of the pipeline did not pass on.", labels=["step", "outcome"]
        )
        for step, not_passed in self.steps.items():
            steps.add_metric([step, "dropped"], not_passed.dropped)
            steps.add_metric([step, "rejected"], not_passed.rejected)
        yield steps
        warnings = CounterMetricFamily("ingest_warnings", "Side fields mended or left out, by code.", labels=["code"])
        for code, count in self.warnings.items():
            warnings.add_metric([code.value], count)
        yield warnings
        yield CounterMetricFamily(
            "ingest_clamped_timestamps", "Events whose time was moved into the allowed span.", value=self.clamped
        )
