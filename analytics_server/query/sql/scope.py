"""What every source is made of: the question in its range, and the pieces of a SELECT.

Pure text: identifiers come from the field registry, values are bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from analytics_server.query.dimensions import GOAL, SESSION, Dimension, Scope
from analytics_server.query.language.conditions import Condition, matches
from analytics_server.query.language.request import Question
from analytics_server.query.language.time_range import TimeRange
from analytics_server.query.parameters import TEXTS, Binder
from analytics_server.query.sql.render import Reach, render, with_key

Column = Callable[[Dimension], str]


@dataclass(frozen=True, slots=True)
class Scoped:
    """What all parts share: the question, the range, the parameters, and the wanted groups.

    `only`: per place of a dimension the values to keep; none = all groups. `until`: the end of the
    question's range, of which `range_` may be a part. `reach`: the events that has_done looks at.
    """

    question: Question
    range_: TimeRange
    until: datetime
    binder: Binder
    only: Mapping[int, Sequence[str]]
    reach: Reach

    def expressions(self, source: Literal["traffic", "events", "sessions"], at: str) -> list[str]:
        """The question's dimensions as expressions over a source whose rows are dated by `at`."""
        return [self._expression(place, source, at) for place in range(len(self.question.dimensions))]

    def _expression(self, place: int, source: Literal["traffic", "events", "sessions"], at: str) -> str:
        dimension = self.question.dimensions[place]
        sql: str = getattr(dimension, source)
        return self._goals(place, source) if dimension is GOAL else self._keyed(sql, dimension).replace("@at", at)

    def _goals(self, place: int, source: Literal["traffic", "events", "sessions"]) -> str:
        """A row per goal that the event is one of; the wanted ones are chosen here, before the rows multiply."""
        wanted = self.only.get(place)
        goals = [goal for goal in self.question.goals if wanted is None or goal.name in wanted]
        column = self._traffic_column if source == "traffic" else self._event_column
        holds = ", ".join(render(goal.condition, column, self.binder, self.reach) for goal in goals)
        names = self.binder.bind([goal.name for goal in goals], TEXTS)
        return f"arrayJoin(arrayFilter((goal, holds) -> holds, {names}, CAST([{holds}], 'Array(UInt8)')))"

    def conditions(self, where: Sequence[Condition], column: Column) -> list[str]:
        """Conditions as SQL over the columns that `column` names."""
        return [render(condition, column, self.binder, self.reach) for condition in where]

    def on_events(self, where: Sequence[Condition]) -> list[str]:
        """Conditions over a row `e` of `events`."""
        return self.conditions(where, self._event_column)

    def on_sessions(self, where: Sequence[Condition]) -> list[str]:
        """Conditions over a row `s` of `sessions`."""
        return self.conditions(
            where, lambda d: key_of_session(exact=self.question.exact) if d is SESSION else self._keyed(d.sessions, d)
        )

    def wanted(self, groups: Sequence[str]) -> list[str]:
        """Keep only the groups that were asked for by value."""
        return [
            f"{groups[index]} IN {self.binder.bind(values, TEXTS)}"
            for index, values in self.only.items()
            if self.question.dimensions[index].scope is not Scope.TIME and self.question.dimensions[index] is not GOAL
        ]

    def _event_column(self, dimension: Dimension) -> str:
        if dimension is SESSION:
            return key_of_event(exact=self.question.exact)
        return self._keyed(dimension.events, dimension)

    def _traffic_column(self, dimension: Dimension) -> str:
        return dimension.traffic

    def _keyed(self, sql: str, dimension: Dimension) -> str:
        return with_key(sql, dimension, self.binder)


def key_of_event(*, exact: bool) -> str:
    """An event's session: by its hash, which is far cheaper to read and compare, unless that must not be."""
    return "e.session_start, e.session_id" if exact else SESSION.events


def key_of_session(*, exact: bool) -> str:
    """The same of a session's row."""
    return "s.opened_at, s.session_id" if exact else SESSION.sessions


def is_settled(condition: Condition) -> bool:
    """Is the condition true of a session from its first event on, so that any part of its row decides it?

    Attributes of the first touch are the same on all events; entry and exit page are not known before the rows
    are merged.
    """
    return all(is_first_touch(match.dimension) for match in matches((condition,)))


def is_first_touch(dimension: Dimension) -> bool:
    """Does the dimension stand on each event of a session with the same value?"""
    return dimension.scope is Scope.VISIT and not dimension.joined


def named(groups: Sequence[str]) -> list[str]:
    """The dimensions' columns, `d_0 …`."""
    return [f"{sql} AS d_{index}" for index, sql in enumerate(groups)]


def grouped(
    groups: Sequence[str], metrics: Sequence[str], relation: str, where: Sequence[str], prewhere: Sequence[str] = ()
) -> str:
    """A SELECT of metrics by the question's dimensions."""
    names = [f"d_{index}" for index in range(len(groups))]
    return select([*named(groups), *metrics], relation, where, names, prewhere)


def select(
    columns: Sequence[str],
    relation: str,
    where: Sequence[str],
    group_by: Sequence[str] = (),
    prewhere: Sequence[str] = (),
) -> str:
    """One SELECT. `prewhere` is applied before FINAL merges rows: only what holds for all parts of a row alike."""
    lines = ["SELECT", indent(",\n".join(columns)), f"FROM {relation}"]
    if prewhere:
        lines += ["PREWHERE", indent("\nAND ".join(prewhere))]
    if where:
        lines += ["WHERE", indent("\nAND ".join(where))]
    if group_by:
        lines.append(f"GROUP BY {', '.join(group_by)}")
    return "\n".join(lines)


def indent(sql: str) -> str:
    """One level deeper."""
    return "\n".join(f"    {line}" for line in sql.split("\n"))
