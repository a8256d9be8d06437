"""Stored documents that this version can't read: left out, named once in the log, and counted.

A newer version may have written them, or a disk or a hand damaged them. One such document must not
take its neighbours along, nor be passed over in silence: the gauge `unreadable_documents` and one
warning for each say that there is something to look at.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import msgspec
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily

log = logging.getLogger(__name__)

NOT_READABLE = (msgspec.DecodeError, ValueError, RecursionError)
"""What decoding a damaged document may raise."""


class UnreadableDocuments:
    """What is unreadable now, by kind and id."""

    def __init__(self) -> None:
        self._ids: dict[str, set[str]] = {}

    def register(self, registry: CollectorRegistry) -> None:
        """Show the numbers in `/metrics`."""
        registry.register(self)

    def note(self, kind: str, id_: str, reason: str) -> None:
        """One can't be read; said in the log unless it is known."""
        ids = self._ids.setdefault(kind, set())
        if id_ not in ids:
            ids.add(id_)
            log.warning(
                "a stored document can't be read and is left out", extra={"kind": kind, "id": id_, "reason": reason}
            )

    def keep_only(self, kind: str, ids: Iterable[str]) -> None:
        """The others of this kind can be read by now, or are gone."""
        if kind in self._ids:
            self._ids[kind] &= set(ids)

    def ids(self) -> dict[str, tuple[str, ...]]:
        """What is unreadable now: ids by kind, sorted; kinds without any are left out."""
        return {kind: tuple(sorted(ids)) for kind, ids in sorted(self._ids.items()) if ids}

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        family = GaugeMetricFamily(
            "unreadable_documents",
            "Stored documents, such as sites, tokens and saved things, that can't be read.",
            labels=["kind"],
        )
        for kind, ids in sorted(self._ids.items()):
            family.add_metric([kind], len(ids))
        yield family
