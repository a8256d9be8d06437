"""Tenant scope of a request: the sites that the token covers, or the one that `database` names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from analytics_server.errors import Forbidden, RequestError
from analytics_server.http.authorization import Caller

DATABASES = ("analytics", "default")
"""Either one means all sites that the token covers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisibleSites:
    """The database by the name that the client gave it, and its sites."""

    database: str
    sites: tuple[str, ...]


def scope_of(database: str, caller: Caller, known: Iterable[str], *, most_sites: int) -> VisibleSites:
    """Raises `Forbidden` for a site that the token doesn't cover or that isn't there, or where no site is left, and
    `RequestError` (too_many_sites) for more sites than one question may be about."""
    covered = tuple(site for site in known if caller.covers(site))
    named = database.strip().lower()
    if named and named in covered:  # also a site that is called like a database
        return VisibleSites(database=database, sites=(named,))
    database = database or DATABASES[0]
    if database not in DATABASES:
        raise Forbidden(
            f"There is no database {database[:100]} for this token: it is {DATABASES[0]}, or a site's name."
        )
    if not covered:
        raise Forbidden("This token covers no site that exists.")
    if len(covered) > most_sites:
        raise RequestError(
            f"This token covers {len(covered)} sites; {most_sites} can be asked about at once ([clickhouse_api] sites)."
            " Name one site as the database.",
            code="too_many_sites",
        )
    return VisibleSites(database=database, sites=covered)
