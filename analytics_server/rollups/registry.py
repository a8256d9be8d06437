"""The tables that are derived from `events`: one declaration each of how it is filled, compared, rebuilt and cut.

Whatever looks after derived data or removes events (doctor, repair, expiry, erasure, imports, the deletion of a site)
walks `DERIVED_TABLES` and names no table itself, so that a new table is known to all of them once it is declared here.
A test holds the list against the database: every table there is either declared or known to hold nothing of events.

Saved funnels have tables of their own, made while servers run, and so may operators add views. They are not listed one
by one: `derived_tables` adds those that the database has now.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from analytics_server.rollups.materialized_views import SITE, Rollup, Views

OF_SITE = f"{SITE} = {{site:String}}"
"""SQL: the rows of one site. Every derived table has the column."""

USER = "user_id"


class Filling(Enum):
    """How rows come into a derived table, and with that how it is compared with `events` and rebuilt."""

    VIEW = "view"
    """By a materialized view, with every insert into `events`. Compared with a recomputation of the view's SELECT
    (`comparison`), rebuilt by whole days (`rebuild`), and reconciled after a batch in doubt (`reconcile`)."""

    BUILD = "build"
    """By a background task, day by day. A build counts only while the numbers of events that it was made from, which
    stand in its row of the table `builds`, are those of today; so rows are never mended, only discarded, and the
    server builds the day again."""


class ErasureMethod(Enum):
    """How the rows of a derived table stop telling of a person whose events are erased."""

    DELETE_ROWS = "delete rows"
    """The rows are the person's alone and name them: delete these."""

    REBUILD_DAYS = "rebuild days"
    """Rows count several persons: rebuild the days on which the person had events, after their events are deleted."""

    DISCARD_DAYS = "discard days"
    """The same, where builds of those days are discarded and made again by the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedTable:
    """One table, or a family of tables that begin with the same name."""

    name: str
    filling: Filling
    time: str
    """The column by which it is partitioned and rebuilt: a time in UTC, or the day in the site's zone of a build.
    "" only for an operator's view without a time."""

    person: str | None
    """The column with the application's user id in rows that are one person's alone; None: rows count several."""

    builds: str = ""
    """The table that makes builds valid, with the columns `site_id` and `day`; "" for views."""

    subject: str = ""
    """The column of a build that holds a user id in rows whose `definition` is one of `FUNNEL_FACTS` by user, and in no
    others; "" where no row of a build names a person."""

    outlives_events: bool = False
    """May a site keep its builds for longer than their events? Such have `kept = 1` in `builds`, and name no person."""

    is_family: bool = False

    @property
    def of_days(self) -> str:
        """SQL: the rows of some days, those of a build in the site's zone, all others in UTC."""
        return f"toDate({self.time}) IN {{days:Array(Date)}}"

    @property
    def of_person(self) -> str | None:
        """SQL: the rows of one person; None if rows count several, see `erasure`."""
        return None if self.person is None else f"{self.person} = {{user:String}}"

    @property
    def erasure(self) -> ErasureMethod:
        """What an erasure has to do here."""
        if self.person is not None:
            return ErasureMethod.DELETE_ROWS
        return ErasureMethod.REBUILD_DAYS if self.filling is Filling.VIEW else ErasureMethod.DISCARD_DAYS

    def invalidate(self, condition: str) -> str:
        """A statement that makes builds invalid by a condition; their rows go with a later sweep (`builds`).

        So it does no harm beside a server that builds the same days: no build is valid whose rows are gone.
        """
        return f"ALTER TABLE {self.builds} DELETE WHERE {condition} SETTINGS mutations_sync = 2"


SESSIONS = DerivedTable(name="sessions", filling=Filling.VIEW, time="opened_at", person=None)
"""`user_id` here is one of the users of the session, and its counts are those of all its events."""

TRAFFIC = DerivedTable(name="traffic", filling=Filling.VIEW, time="bucket", person=None)
OPENINGS = DerivedTable(name="openings", filling=Filling.VIEW, time="bucket", person=None)
ACTIVITY = DerivedTable(name="activity", filling=Filling.VIEW, time="day", person=USER)
DAY_TOTALS = DerivedTable(
    name="day_totals", filling=Filling.BUILD, time="day", person=None, builds="day_builds", outlives_events=True
)
FUNNEL_DAYS = DerivedTable(
    name="funnel_days", filling=Filling.BUILD, time="day", person=None, builds="funnel_builds", subject="subject"
)

FUNNEL_FACTS = DerivedTable(name="funnel_", filling=Filling.VIEW, time="ts", person=USER, is_family=True)
"""`funnel_<id>_<definition>`: one table for each saved funnel."""

DERIVED_TABLES = (SESSIONS, TRAFFIC, OPENINGS, ACTIVITY, DAY_TOTALS, FUNNEL_DAYS, FUNNEL_FACTS)

SHIPPED_ROLLUPS = tuple(table.name for table in DERIVED_TABLES if table.filling is Filling.VIEW and not table.is_family)
"""The tables behind the schema's own views: every batch goes to each of them."""


def derived_tables(views: Views) -> list[DerivedTable]:
    """All derived tables that there are now: those of the schema, of saved funnels, and of views added by operators."""
    shipped = [table for table in DERIVED_TABLES if not table.is_family]
    known = {table.name for table in shipped}
    return shipped + [_declared(rollup) for rollup in views.rollups if rollup.target not in known]


def _declared(rollup: Rollup) -> DerivedTable:
    """One of a family, or a view that is not declared, which is judged by its shape."""
    is_fact = rollup.target.startswith(FUNNEL_FACTS.name)
    person = USER if is_fact or USER in rollup.keys else None
    return DerivedTable(name=rollup.target, filling=Filling.VIEW, time=rollup.time, person=person)
