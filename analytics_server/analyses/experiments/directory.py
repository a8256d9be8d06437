"""Look-up of experiment definitions by id, by key, by name; in memory, for the assignment too.

Keys and names belong to a site, ids to the whole server. Where a caller gives a key without a site, as pages do that
ask for a variant, nothing that another site saves later may change the answer: the page's own site decides, else
who had the key or name first. What was made of the documents is kept until `Saved` says that something has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from analytics_server.analyses.experiments.definition import ExperimentBody
from analytics_server.errors import Conflict, NotFound, RequestError
from analytics_server.saved.store import Kind, Saved, SavedThing, body_of


@dataclass(frozen=True, slots=True)
class Known:
    """A saved definition, decoded."""

    thing: SavedThing
    body: ExperimentBody

    def since(self, id_or_key: str) -> tuple[bool, int, int, str]:
        """Sorts those found by one text: in a site keys go before names, between sites the elder goes first."""
        by_key = self.body.key == id_or_key
        since_ms = self.body.key_since_ms if by_key else self.body.name_since_ms
        return not by_key, since_ms or self.thing.created_at_ms, self.thing.created_at_ms, self.thing.id


class Directory:
    """The saved experiments of all sites."""

    def __init__(self, saved: Saved) -> None:
        self._saved = saved
        self._revision = -1
        self._by_id: dict[str, Known] = {}
        self._by_key: dict[str, list[Known]] = {}
        self._by_name: dict[str, list[Known]] = {}

    def by_id(self, id_: str) -> Known | None:
        """The definition of that id, whatever the site."""
        self._refresh()
        return self._by_id.get(id_)

    def find(self, id_or_key: str, site_id: str) -> Known | None:
        """The site's definition: by id, else by key, else by name."""
        known = self.by_id(id_or_key)
        if known is not None and known.thing.site_id == site_id:
            return known
        return next(iter(self._of_sites(id_or_key, lambda each: each == site_id)), None)

    def find_covered(self, id_or_key: str, covers: Callable[[str], bool]) -> Known | None:
        """By id, else by key or name among the sites that a token covers, as if there were no others.

        Raises `RequestError` (site_needed) if several of them have an experiment of that key or name.
        """
        known = self.by_id(id_or_key)
        if known is not None and covers(known.thing.site_id):
            return known
        found = self._of_sites(id_or_key, covers)
        if len(found) > 1:
            raise RequestError(
                f"Several sites have an experiment {id_or_key[:120]!r}: add site_id, or use its id.",
                code="site_needed",
            )
        return found[0] if found else None

    def find_first(self, id_or_key: str, is_site: Callable[[str], bool]) -> list[Known]:
        """By id, else each site's by key or name, the site first that had it first."""
        known = self.by_id(id_or_key)
        if known is not None and is_site(known.thing.site_id):
            return [known]
        return self._of_sites(id_or_key, is_site)

    def _of_sites(self, id_or_key: str, covers: Callable[[str], bool]) -> list[Known]:
        """One of each site that has any, in the order in which the sites came to have it."""
        self._refresh()
        of_site: dict[str, Known] = {}
        for known in _sorted((*self._by_key.get(id_or_key, ()), *self._by_name.get(id_or_key, ())), id_or_key):
            if covers(known.thing.site_id):
                of_site.setdefault(known.thing.site_id, known)
        return sorted(of_site.values(), key=lambda known: known.since(id_or_key)[1:])

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


def _sorted(found: Iterable[Known], id_or_key: str) -> list[Known]:
    return sorted(found, key=lambda known: known.since(id_or_key))


def unknown(id_or_key: str) -> NotFound:
    """The error for what is not there, or not for this token."""
    return NotFound(
        f"There is no experiment {id_or_key[:120]!r}: GET /api/v1/experiments lists those of a site.",
        code="unknown_experiment",
    )
