"""The facts table of a saved funnel, filled by a materialized view: what the site's events are to the funnel.

A *fact* is (time, subject, number): that the subject took a step, or did what an exclusion names, at an instant. Facts
are a set, not a sum: the same fact twice is one fact. So the view may run beside the back-fill, a batch may be sent
again, a server may die between the commit of `events` and that of the facts, and nothing is ever counted twice. From
facts the attempts of any range follow exactly, which a state of `windowFunnel` could not give: it forgets times,
takes no part of a range, and counts what is inserted again.

The tables' names carry the funnel's id and a hash of what it means, so a change makes new ones. Pure text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from analytics_server.analyses.funnels.attempts import OTHER, WIDTH, exclusion_number
from analytics_server.analyses.funnels.definition import By, Funnel
from analytics_server.analyses.funnels.events_table import UNTIL, is_exclusive, known_subject
from analytics_server.analyses.funnels.materialized.literals import Literals
from analytics_server.errors import RequestError
from analytics_server.query.language.conditions import count_done
from analytics_server.query.language.filter_classes import reads_pages
from analytics_server.query.language.time_range import TimeRange
from analytics_server.query.parameters import TEXT, Binder
from analytics_server.query.sql.from_tables import EVENTS
from analytics_server.query.sql.range_edges import EDGES
from analytics_server.query.sql.render import render_on_events
from analytics_server.query.sql.select import Select, Table, and_, compose, compose_list, or_, print_line, select

VERSIONS: dict[By, int] = {"session": 1, "visitor": 2, "user": 1}
"""One rises when the meaning of facts or of days' attempts changes: they are made anew then."""

PREFIX = "funnel_"
_SUBJECTS: dict[By, tuple[str, str]] = {
    "session": ("cityHash64(e.session_start, e.session_id)", "UInt64 CODEC(LZ4)"),
    "visitor": ("e.visitor_id", "UInt64 CODEC(LZ4)"),
    "user": ("e.user_id", "String CODEC(ZSTD(1))"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One saved funnel as it means now, and its tables."""

    funnel_id: str
    site_id: str
    funnel: Funnel
    definition: str
    """The hash of what it means: of the view's SELECT, and of how attempts are made of facts."""
    query: Select
    """What each event is to the funnel; holds no parameters, because a view's SELECT can't."""

    @property
    def table(self) -> str:
        """The table of the facts."""
        return f"{PREFIX}{self.funnel_id}_{self.definition}"

    @property
    def view(self) -> str:
        """The view that fills the table."""
        return f"{self.table}_from_events"

    def create_table(self) -> str:
        """With the placeholders of schema files. user_id: so that a person's facts can be found and erased."""
        kind = _SUBJECTS[self.funnel.by][1]
        return (
            f"CREATE TABLE IF NOT EXISTS {self.table} ${{ON_CLUSTER}} (site_id LowCardinality(String), "
            f"ts DateTime64(6, 'UTC') CODEC(Delta, LZ4), subject {kind}, number UInt8, "
            "user_id SimpleAggregateFunction(max, String) CODEC(ZSTD(1))) "
            "ENGINE = ${ENGINE:AggregatingMergeTree} PARTITION BY toYYYYMM(ts) "
            "ORDER BY (site_id, ts, subject, number) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
        )

    def create_view(self) -> str:
        """With the placeholders of schema files."""
        made = f"CREATE MATERIALIZED VIEW IF NOT EXISTS {self.view} ${{ON_CLUSTER}} TO {self.table}"
        return f"{made} AS {print_line(self.query)}"

    def fill(self) -> str:
        """Put in the facts of the events between `start` and `until`; again, if need be."""
        between = (f"e.ts >= {EDGES.start}", f"e.ts < {UNTIL}")
        query = replace(self.query, where=(*self.query.where, *between))
        return f"INSERT INTO {self.table} (site_id, ts, subject, number, user_id) {print_line(query)}"


def make_facts(funnel_id: str, site_id: str, funnel: Funnel) -> Facts:
    """The tables of a saved funnel. Raises `RequestError` (bad_funnel) for what no view can know."""
    conditions = funnel.conditions()
    if count_done(conditions) or reads_pages(conditions):
        raise RequestError(
            "A saved funnel is kept up to date event by event, so it can't ask for entry or exit pages, has_done or"
            " sequence, which only the whole session knows: ask for it with its steps instead.",
            code="bad_funnel",
        )
    query = _facts_of_events(funnel, site_id)
    shape = (
        VERSIONS[funnel.by],
        funnel_id,
        print_line(query),
        funnel.window_us,
        funnel.order,
        [(one.after, one.before) for one in funnel.exclude],
    )
    definition = hashlib.sha256(repr(shape).encode()).hexdigest()[:16]
    return Facts(funnel_id=funnel_id, site_id=site_id, funnel=funnel, definition=definition, query=query)


def elements_of_facts(facts: Facts, pieces: Sequence[TimeRange], binder: Binder) -> Select:
    """A SELECT of `subject` and `elements`; attempts begin in the given pieces of time only."""
    funnel, inside, needed = facts.funnel, [], []
    for index, piece in enumerate(pieces):
        since = binder.moment(f"since_{index}", piece.start)
        until = binder.moment(f"until_{index}", piece.end)
        after = binder.moment(f"after_{index}", piece.end + timedelta(seconds=funnel.window_s))
        inside.append(f"f.ts >= {since} AND f.ts < {until}")
        needed.append(f"f.ts >= {since} AND f.ts < {after}")
    anchored = f"({' OR '.join(inside)})"
    number = f"if(f.number = 1 AND NOT {anchored}, {OTHER}, f.number)"
    at = "toUInt64(toUnixTimestamp64Micro(f.ts))"
    where = ["f.site_id = {site:String}", f"({' OR '.join(needed)})"]
    if funnel.order != "strict":
        where.append(f"(f.number != 1 OR {anchored})")
    return select(
        ["f.subject AS subject", f"groupArray(toUInt64({at} * {WIDTH} + {WIDTH - 1} - {number})) AS elements"],
        Table(facts.table, "f"),
        where,
        ["subject"],
    )


def _facts_of_events(funnel: Funnel, site_id: str) -> Select:
    literals = Literals()
    site = literals.bind(site_id, TEXT)
    numbered = [(and_(render_on_events(step.where, literals)), index) for index, step in enumerate(funnel.steps, 1)]
    for index, one in enumerate(funnel.exclude):
        numbered.append((and_(render_on_events(one.events.where, literals)), exclusion_number(index)))
    if is_exclusive(funnel):
        parts = compose_list(", ", [compose(condition, f", {number}") for condition, number in numbered])
        number = compose("toUInt8(multiIf(", parts, ", 0))")
    else:
        parts = compose_list(", ", [compose("if(", condition, f", {number}, 0)") for condition, number in numbered])
        number = compose("toUInt8(arrayJoin(arrayFilter(x -> x > 0, [", parts, "])))")
    return select(
        [
            "e.site_id AS site_id",
            "e.ts AS ts",
            f"{_SUBJECTS[funnel.by][0]} AS subject",
            compose(number, " AS number"),
            "max(e.user_id) AS user_id",
        ],
        EVENTS,
        [
            f"e.site_id = {site}",
            *known_subject(funnel),
            *render_on_events(funnel.where, literals),
            or_([condition for condition, _ in numbered]),
        ],
        ["site_id", "ts", "subject", "number"],
    )
