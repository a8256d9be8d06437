"""What every part of a statement is made of: the question in its range, and its dimensions and filters as expressions.

Pure: identifiers come from the registry, values are bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Literal

from analytics_server.query.clock_changes import HOUR_S, changes_within_hours, clock_periods
from analytics_server.query.dimensions import (
    GOAL,
    HOUR_BETWEEN_CHANGES,
    HOUR_CHANGE,
    SESSION,
    Dimension,
    Scope,
    of_exits,
)
from analytics_server.query.language.conditions import Condition
from analytics_server.query.language.request import Question
from analytics_server.query.language.time_range import TimeRange
from analytics_server.query.parameters import MOMENTS_S, OFFSETS_S, TEXT, TEXTS, Binder
from analytics_server.query.plan.coverage import totals_expression
from analytics_server.query.sql.range_edges import RangeEdges
from analytics_server.query.sql.render import Column, Reach, blanks_of, render, with_key
from analytics_server.query.sql.select import Expression, Relation, Select, compose, compose_list, select
from analytics_server.query.sql.templates import fill

REST = "\x01rest"
"""What the text dimensions of merged groups are: no stored value begins with it."""

Rows = Literal["traffic", "events", "sessions", "exits"]
"""Which rows are read: `b` of `traffic`, `e` of `events` or `s` of `sessions`, for `exits` with its last page view."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoped:
    """What all parts share: the question, the range, the parameters, and the wanted groups.

    `only`: per place of a dimension the values to keep; none = all groups. `rest_of`: groups with other keys than these
    are made one, whose text dimensions are `REST` and whose time is the type's default. `until`: the end of the
    question's range, of which `range_` may be a part; `edges` are those of `range_`.
    """

    question: Question
    range_: TimeRange
    until: datetime
    binder: Binder
    only: Mapping[int, Sequence[str]]
    edges: RangeEdges
    rest_of: Sequence[Sequence[object]] | None = None
    reach: Reach = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reach", self.edges.whole_sessions)

    @property
    def event_key(self) -> tuple[str, ...]:
        """An event's session: by its hash, which is far cheaper to read and compare, unless that must not be."""
        return ("e.session_start", "e.session_id") if self.question.exact else (SESSION.events,)

    @property
    def session_key(self) -> tuple[str, ...]:
        """The same of a session's row."""
        return ("s.opened_at", "s.session_id") if self.question.exact else (SESSION.sessions,)

    @property
    def settled(self) -> list[Expression]:
        """The filters that every part of a session's row decides, over a row `s` of `sessions`."""
        return self.on_sessions(self.question.filters.settled)

    def expressions(self, rows: Rows, at: str) -> list[Expression]:
        """The question's dimensions as expressions over rows that are dated by `at`."""
        return self._merged([self._expression(place, rows, at) for place in range(len(self.question.dimensions))])

    def _merged(self, groups: list[Expression]) -> list[Expression]:
        if self.rest_of is None or not groups:
            return groups
        kept = "0"
        if self.rest_of:
            keys = [key_text(key) for key in self.rest_of]
            kept = f"concat({', '.join(map(_length_and_text, groups))}) IN {self.binder.bind(keys, TEXTS)}"
        rest = self.binder.bind(REST, TEXT)
        return [
            f"if({kept}, {group}, defaultValueOfArgumentType({group}))"
            if dimension.scope is Scope.TIME
            else f"if({kept}, toString({group}), {rest})"
            for group, dimension in zip(groups, self.question.dimensions, strict=True)
        ]

    def _expression(self, place: int, rows: Rows, at: str) -> Expression:
        dimension = self.question.dimensions[place]
        if dimension is GOAL:
            return self._goals(place, rows)
        template: str = of_exits(dimension) if rows == "exits" else getattr(dimension, rows)
        if dimension.interval == "hour":
            return hour_expression(template, at, self.range_, self.binder)
        return fill(template, at=at, **blanks_of(dimension, self.binder))

    def _goals(self, place: int, rows: Rows) -> Expression:
        """A row per goal that the event is one of; the wanted ones are chosen here, before the rows multiply."""
        wanted = self.only.get(place)
        goals = [goal for goal in self.question.goals if wanted is None or goal.name in wanted]
        columns: dict[Rows, Column] = {"traffic": self._traffic_column, "exits": self._exit_column}
        column = columns.get(rows, self._event_column)
        holds = compose_list(", ", [render(goal.condition, column, self.binder, self.reach) for goal in goals])
        names = self.binder.bind([goal.name for goal in goals], TEXTS)
        return compose(f"arrayJoin(arrayFilter((goal, holds) -> holds, {names}, CAST([", holds, "], 'Array(UInt8)')))")

    def paid(self) -> Expression:
        """Whether the revenue of a row `e` of `events` counts: there is some, in the currency of its row's goal."""
        question, has = self.question, "e.revenue_currency != ''"
        if GOAL not in question.dimensions:
            return compose_list(" AND ", [has, *self.on_events(question.paying)])
        if not any(goal.currency for goal in question.goals):
            return has
        names = self.binder.bind([goal.name for goal in question.goals], TEXTS)
        currencies = self.binder.bind([goal.currency for goal in question.goals], TEXTS)
        goal = f"d_{question.dimensions.index(GOAL)}"
        return f"{has} AND transform({goal}, {names}, {currencies}, '') IN ('', e.revenue_currency)"

    def conditions(self, where: Sequence[Condition], column: Column) -> list[Expression]:
        """Conditions as SQL over the columns that `column` names."""
        return [render(condition, column, self.binder, self.reach) for condition in where]

    def on_events(self, where: Sequence[Condition]) -> list[Expression]:
        """Conditions over a row `e` of `events`."""
        return self.conditions(where, self._event_column)

    def on_sessions(self, where: Sequence[Condition]) -> list[Expression]:
        """Conditions over a row `s` of `sessions`."""
        return self.conditions(where, self._session_column)

    def on_exits(self, where: Sequence[Condition]) -> list[Expression]:
        """Conditions on the last page view of a session, over its row `s`."""
        return self.conditions(where, self._exit_column)

    def wanted(self, groups: Sequence[Expression]) -> list[Expression]:
        """Keep only the groups that were asked for by value."""
        return [
            compose(groups[index], f" IN {self.binder.bind(values, TEXTS)}")
            for index, values in self.only.items()
            if self.question.dimensions[index].scope is not Scope.TIME and self.question.dimensions[index] is not GOAL
        ]

    def _event_column(self, dimension: Dimension) -> str:
        return ", ".join(self.event_key) if dimension is SESSION else with_key(dimension.events, dimension, self.binder)

    def _session_column(self, dimension: Dimension) -> str:
        if dimension is SESSION:
            return ", ".join(self.session_key)
        return with_key(dimension.sessions, dimension, self.binder)

    def _exit_column(self, dimension: Dimension) -> str:
        if dimension.scope is Scope.SESSION:
            return self._session_column(dimension)
        return with_key(of_exits(dimension), dimension, self.binder)

    def totals_column(self, dimension: Dimension) -> str:
        """A dimension of the question as an expression over a row `t` of `day_totals`."""
        return with_key(totals_expression(dimension), dimension, self.binder)

    def _traffic_column(self, dimension: Dimension) -> str:
        return dimension.traffic


def hour_expression(template: str, at: str, range_: TimeRange, binder: Binder) -> str:
    """The hour of rows of a range that are dated by `at`: by the template, unless clocks change within an hour."""
    periods = clock_periods(int(range_.start.timestamp()) - HOUR_S, ceil(range_.end.timestamp()), range_.zone)
    if not changes_within_hours(periods):
        return fill(template, at=at)
    binder.name("clock_changes", [period.start for period in periods], MOMENTS_S)
    binder.name("clock_offsets", [period.offset for period in periods], OFFSETS_S)
    return fill(HOUR_BETWEEN_CHANGES, at=at, change=fill(HOUR_CHANGE, at=at))


def local_day(at: str) -> str:
    """The day of the site's time zone that a time lies on."""
    return f"toDate({at}, {{tz:String}})"


def key_text(key: Sequence[object]) -> str:
    """A group's key as one text, no two alike."""
    return "".join(f"{len(text.encode())}:{text}" for text in map(str, key))


def _length_and_text(group: Expression) -> str:
    return f"toString(length(toString({group}))), ':', toString({group})"


def names_of(count: int) -> list[str]:
    """The names of so many dimensions' columns, `d_0 …`."""
    return [f"d_{index}" for index in range(count)]


def named(groups: Sequence[Expression]) -> list[Expression]:
    """The dimensions' columns, `d_0 …`."""
    return [compose(group, f" AS {name}") for group, name in zip(groups, names_of(len(groups)), strict=True)]


def grouped(
    groups: Sequence[Expression],
    metrics: Sequence[Expression],
    source: Relation,
    where: Sequence[Expression],
    prewhere: Sequence[Expression] = (),
) -> Select:
    """A SELECT of metrics by the question's dimensions."""
    return select([*named(groups), *metrics], source, where, names_of(len(groups)), prewhere)
