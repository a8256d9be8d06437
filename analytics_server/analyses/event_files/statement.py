"""The SQL of a file of events. Pure: values are bound, column names come from `model`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analytics_server.query.language.conditions import Condition
from analytics_server.query.language.filter_classes import reads_pages
from analytics_server.query.parameters import Binder
from analytics_server.query.sql.from_tables import EVENTS, events_with_sessions, session_pages
from analytics_server.query.sql.range_edges import EDGES, open_since
from analytics_server.query.sql.render import render_on_events
from analytics_server.query.sql.select import Select, select

ORDER = ("e.site_id", "toStartOfHour(e.ts)", "e.session_id", "e.ts")
"""The table's own order: rows are read in it and sent at once, never gathered to be sorted."""

_AS_TEXT = {"event_id": "toString(e.event_id)"}
_AS_JSON_TEXT = {"props": "toJSONString(e.props)"}


def select_rows(columns: Sequence[str], where: Sequence[Condition], binder: Binder, *, as_csv: bool) -> Select:
    """The rows of the range that pass the filters, hour by hour, within an hour by session.

    Parameters: `site`, `start`, `end`. `as_csv`: properties are one text.
    """
    written = {**_AS_TEXT, **(_AS_JSON_TEXT if as_csv else {})}
    conditions = render_on_events(where, binder)
    near = EDGES.opened_near(open_since(EDGES.start))[1:]  # Pages stand in memory, so of no more sessions than needed.
    return replace(
        select(
            [f"{written.get(name, f'e.{name}')} AS `{name}`" for name in columns],
            events_with_sessions(session_pages(near)) if reads_pages(where) else EVENTS,
            [*EDGES.events, *conditions],
        ),
        order_by=ORDER,
    )
