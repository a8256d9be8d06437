"""Cohorts equal what plain loops over all events find, from every table that can answer, on both engines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_server.analyses.cohorts.request import CohortsAnswer, CohortsRequest, check_cohorts
from analytics_server.analyses.cohorts.run import run_cohorts
from analytics_server.analyses.cohorts.statement import CohortTable, cheapest_source
from analytics_server.model import Site
from tests.analyses.sessions.people import NOW, Event, Past
from tests.analyses.sessions.places import Place, asked, date_ranges, filters, many, sites
from tests.query.filter_reading import speaks_of_passive, ways_to_meet
from tests.query.world import micros, moment

Matrix = list[tuple[str, int, list[int], list[bool]]]


def begin_of(day: date, period: str) -> date:
    match period:
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
    return day


def next_begin(begin: date, period: str) -> date:
    return begin_of(begin + timedelta(days={"day": 1, "week": 7, "month": 31}[period]), period)


def begins(first: date, last: date, period: str) -> Iterator[date]:
    while first <= last:
        yield first
        first = next_begin(first, period)


class Expected:
    """The whole answer, by the definitions of docs/cohorts.md."""

    def __init__(self, past: Past, question: dict[str, Any], start: datetime, end: datetime) -> None:
        self.past, self.period = past, question["period"]
        self.question = question
        self.today = NOW.astimezone(past.zone).date()
        first = begin_of(start.astimezone(past.zone).date(), self.period)
        last = begin_of((end - timedelta(microseconds=1)).astimezone(past.zone).date(), self.period)
        self.shown = [begin for begin in begins(first, last, self.period) if begin <= self.today]
        self.members: dict[date, list[tuple[str, set[date]]]] = defaultdict(list)
        for events in self.subjects():
            self.place(events)

    def subjects(self) -> Sequence[list[Event]]:
        found: dict[object, list[Event]] = defaultdict(list)
        for event in self.past.events:
            who: object = {"user": event.user_id, "visitor": event.visitor_id, "session": event.key}[
                self.question["by"]
            ]
            if who:
                found[who].append(event)
        return list(found.values())

    def place(self, events: list[Event]) -> None:
        passing = [e for e in events if all(self.past.holds(one, e) for one in self.question["filters"])]
        first = [e for e in passing if self.matches_spec(self.question["first"], e)]
        if not first:
            return
        dimension = self.question.get("breakdown")
        began, value = min((e.at, self.past.value(dimension, e) if dimension else "") for e in first)
        active = {self.begin_at(e.at) for e in passing if self.matches_spec(self.question["returning"], e)}
        self.members[self.begin_at(began)].append((value, active))

    def matches_spec(self, spec: dict[str, Any] | None, event: Event) -> bool:
        """A passive event is one only where what is said of the events speaks of passive ones."""
        if spec and "name" in spec:
            return bool(event.name == spec["name"])
        filters = self.question["filters"] if spec is None else spec["filters"]
        if not event.is_passive:
            return all(self.past.holds(one, event) for one in filters)
        return any(
            any(map(speaks_of_passive, way)) and all(self.past.holds(one, event) for one in way)
            for way in ways_to_meet(["and", filters])
        )

    def begin_at(self, at: int) -> date:
        return begin_of(self.past.local(at).date(), self.period)

    def matrix(self, value: str | None = None) -> Matrix:
        most = self.question.get("periods") or 1_000
        rows: Matrix = []
        for cohort in self.shown:
            members = [active for own, active in self.members[cohort] if value is None or own == value]
            later = list(begins(cohort, self.today, self.period))[:most]
            over = [micros(self.midnight(next_begin(begin, self.period))) <= micros(NOW) for begin in later]
            returned = [sum(begin in active for active in members) for begin in later]
            rows.append((cohort.isoformat(), len(members), returned, over))
        return rows

    def midnight(self, day: date) -> datetime:
        return datetime.combine(day, time(), self.past.zone).astimezone(UTC)

    def values(self) -> list[tuple[str, int]]:
        """The values of the breakdown with their sizes, the largest first."""
        sizes: dict[str, int] = defaultdict(int)
        for cohort in self.shown:
            for value, _ in self.members[cohort]:
                sizes[value] += 1
        return sorted(sizes.items(), key=lambda one: (-one[1], one[0].encode()))


def shown(cohorts: Sequence[Any]) -> Matrix:
    return [(one.start, one.size, one.returned, one.complete) for one in cohorts]


def check_curve(answer: CohortsAnswer) -> None:
    for point in answer.curve:
        whole = [one for one in answer.cohorts if one.complete[point.period : point.period + 1] == [True]]
        assert point.size == sum(one.size for one in whole)
        assert point.returned == sum(one.returned[point.period] for one in whole)
        assert point.retention == (point.returned / point.size if point.size else None)
    assert [point.period for point in answer.curve] == list(
        range(max((len(c.returned) for c in answer.cohorts), default=0))
    )


def check(place: Place, site: Site, source: CohortTable | None = None, **question: Any) -> CohortsAnswer:
    request = asked(CohortsRequest, site_id=site.site_id, **question)
    answer = place.run(run_cohorts(place.context, request, source=source))
    start, end = (datetime.fromisoformat(edge) for edge in answer.meta.date_range)
    expected = Expected(place.pasts[site.site_id], question, start, end)
    assert shown(answer.cohorts) == expected.matrix()
    check_curve(answer)
    if "breakdown" in question:
        values = expected.values()
        assert isinstance(answer.breakdown, list)
        assert [(group.value, group.size) for group in answer.breakdown] == values[: question["limit"]]
        assert answer.meta.total_rows == len(values)
        for group in answer.breakdown:
            assert shown(group.cohorts) == expected.matrix(group.value)
    return answer


periods = st.sampled_from(("day", "week", "month"))
names = st.sampled_from((None, {"name": "click"}, {"name": "Anmeldung ✓"}, {"name": "pageview"}, {"name": "nobody's"}))
name_filters = st.lists(
    st.tuples(
        st.sampled_from(("is", "is_not")),
        st.just("event:name"),
        st.lists(st.sampled_from(("click", "scroll", "pageview")), min_size=1, max_size=2, unique=True),
    ).map(list),
    max_size=1,
)
specs = st.one_of(names, filters(1, least=1).map(lambda found: {"filters": found}))
columns = st.sampled_from((None, 1, 3, 1_000))


@many
@given(site=sites, span=date_ranges(), period=periods, first=names, returning=names, where=name_filters, most=columns)
def test_both_tables_give_what_the_events_say(
    place: Place, site: Site, span: Any, period: str, first: Any, returning: Any, where: Any, most: int | None
) -> None:
    question = {"date_range": span, "period": period, "by": "user", "first": first, "returning": returning}
    request = asked(CohortsRequest, site_id=site.site_id, filters=where, **question)
    # Of the events with other names only active ones count: which they are, `activity` does not say.
    is_known = (first and returning) or all(operator == "is" for operator, *_ in where)
    sources: list[CohortTable] = ["activity", "events"] if is_known else ["events"]
    assert cheapest_source(check_cohorts(request, place.context.library(site.site_id))) == sources[0]
    tables = [check(place, site, source, filters=where, periods=most, **question) for source in sources]
    assert [answer.meta.table for answer in tables] == sources


@settings(parent=many, max_examples=40)
@given(
    site=sites,
    span=date_ranges(),
    period=periods,
    by=st.sampled_from(("user", "user", "visitor", "session")),
    first=specs,
    returning=specs,
    where=filters(),
)
def test_any_filters_and_subjects_give_what_the_events_say(
    place: Place, site: Site, span: Any, period: str, by: str, first: Any, returning: Any, where: Any
) -> None:
    check(place, site, date_range=span, period=period, by=by, first=first, returning=returning, filters=where)


@settings(parent=many, max_examples=25)
@given(
    site=sites,
    span=date_ranges(),
    period=st.sampled_from(("week", "month")),
    by=st.sampled_from(("user", "user", "visitor", "session")),
    first=specs,
    where=filters(1),
    breakdown=st.sampled_from(("visit:source", "event:page", "event:props:plan", "visit:entry_page", "event:name")),
    limit=st.sampled_from((1, 2, 10)),
)
def test_breakdowns_are_by_the_first_event(
    place: Place, site: Site, span: Any, period: str, by: str, first: Any, where: Any, breakdown: str, limit: int
) -> None:
    question = {"date_range": span, "period": period, "by": by, "first": first, "returning": None, "filters": where}
    check(place, site, breakdown=breakdown, limit=limit, **question)


def test_the_people_make_it_hard(place: Place) -> None:
    """Users of several periods, days in two periods and equal first times: else the tests above prove little."""
    days_in_two_weeks = equal_firsts = 0
    for past in place.pasts.values():
        users: dict[str, list[Event]] = defaultdict(list)
        days: dict[tuple[str, date], set[date]] = defaultdict(set)
        for event in past.events:
            if event.user_id:
                users[event.user_id].append(event)
                days[event.user_id, moment(event.at).date()].add(begin_of(past.local(event.at).date(), "week"))
        assert len(users) == 8
        for events in users.values():
            assert len({begin_of(past.local(event.at).date(), "week") for event in events}) > 2
            first = min(event.at for event in events)
            equal_firsts += len({event.path for event in events if event.at == first}) > 1
        days_in_two_weeks += sum(len(weeks) > 1 for weeks in days.values())
    assert days_in_two_weeks > 5
    assert equal_firsts > 0
