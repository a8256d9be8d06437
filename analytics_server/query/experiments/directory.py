"""Finding definitions: by id, by key, by name; in memory, for the assignment too.

Look-ups without a site are for browsers that know an experiment's id or key only. What was made of the documents is
kept until `Saved` says that something has changed.
"""

from __future__ import annotations

from dataclasses import dataclass

from analytics_server.access.saved import Kind, Saved, SavedThing, body_of
from analytics_server.errors import Conflict, NotFound, RequestError
from analytics_server.query.experiments.definition import ExperimentBody


@dataclass(frozen=True, slots=True)
class Known:
    """A saved definition, decoded."""

    thing: SavedThing
    body: ExperimentBody


class Directory:
    """The saved experiments of all sites."""

    def __init__(self, saved: Saved) -> None:
        self._saved = saved
        self._revision = -1
        self._by_id: dict[str, Known] = {}
        self._by_key: dict[str, list[Known]] = {}
        self._by_name: dict[str, list[Known]] = {}

    def find(self, id_or_key: str, site_id: str = "") -> Known | None:
        """By id, else by key, else by name; of one site, or of any if none is named.

        Raises `RequestError` (site_needed) if several sites have an experiment of that key or name.
        """
        self._refresh()
        by_id = self._by_id.get(id_or_key)
        if by_id is not None and site_id in ("", by_id.thing.site_id):
            return by_id
        for index in (self._by_key, self._by_name):
            found = [one for one in index.get(id_or_key, ()) if site_id in ("", one.thing.site_id)]
            if len({one.thing.site_id for one in found}) > 1:
                raise RequestError(
                    f"Several sites have an experiment {id_or_key!r}: add site_id, or use its id.", code="site_needed"
                )
            if found:
                return min(found, key=lambda one: (one.thing.created_at_ms, one.thing.id))
        return None

    def refuse_taken_key(self, site_id: str, key: str, id_: str = "") -> None:
        """Raises `Conflict` (key_taken) if another experiment of the site has the key: exposures would be of both."""
        self._refresh()
        if any(one.thing.site_id == site_id and one.thing.id != id_ for one in self._by_key.get(key, ())):
            raise Conflict(
                f"The site has an experiment with the key {key!r} already: choose another.", code="key_taken"
            )

    def _refresh(self) -> None:
        if self._saved.revision == self._revision:
            return
        revision = self._saved.revision
        self._by_id, self._by_key, self._by_name = {}, {}, {}
        things = self._saved.of_kind(Kind.EXPERIMENT)
        for known in self._saved.readable(things, lambda thing: Known(thing, body_of(thing, ExperimentBody))):
            self._by_id[known.thing.id] = known
            self._by_key.setdefault(known.body.key, []).append(known)
            self._by_name.setdefault(known.thing.name, []).append(known)
        self._revision = revision


def unknown(id_or_key: str) -> NotFound:
    """The error for what is not there, or not for this token."""
    return NotFound(
        f"There is no experiment {id_or_key[:120]!r}: GET /api/v1/experiments lists those of a site.",
        code="unknown_experiment",
    )
