"""What made-up traffic looks like: when it comes, who comes back, what they do."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from analytics_server.collect.enrich.agent import AgentParser
from analytics_server.collect.enrich.bot import BotDetector
from analytics_server.demo.calendar import Span, session_times
from analytics_server.demo.profiles import load_profiles
from analytics_server.demo.sessions import EXPERIMENT, PlannedSession
from analytics_server.demo.traffic import planned_sessions
from analytics_server.demo.world import WeightedChoice
from analytics_server.model import STANDARD_EVENTS
from tests.demo.orders import SMALL, order
from tests.query.oracle import NO_INTERACTION

STOCKHOLM = ZoneInfo("Europe/Stockholm")


@pytest.fixture(scope="module")
def made() -> list[PlannedSession]:
    return list(planned_sessions(SMALL))


@pytest.fixture(scope="module")
def many() -> list[PlannedSession]:
    return list(planned_sessions(order(sessions=12_000)))


def names(session: PlannedSession) -> set[str]:
    return {event.name for event in session.events}


def test_profiles_are_browsers_and_no_bots() -> None:
    profiles = load_profiles()
    bots, agents = BotDetector(1_000), AgentParser(1_000)
    assert len(profiles) == 300
    assert all(profile.weight > 0 for profile in profiles)
    assert not [profile.user_agent for profile in profiles if bots.judge(profile.user_agent)]
    assert all(agents.parse(profile.user_agent).browser for profile in profiles)
    assert {agents.parse(profile.user_agent).device for profile in profiles} >= {"Desktop", "Mobile", "Tablet"}


def test_weighted_choice_draws_by_weight() -> None:
    rng = random.Random(1)
    drawn = Counter(WeightedChoice([(1, "rare"), (3, "common")]).draw(rng) for _ in range(4_000))
    assert drawn["common"] / drawn["rare"] == pytest.approx(3, rel=0.15)


def test_span_covers_whole_local_days() -> None:
    span = Span(28, date(2026, 3, 31), STOCKHOLM)
    assert datetime.fromtimestamp(span.start, STOCKHOLM) == datetime(2026, 3, 4, tzinfo=STOCKHOLM)
    assert datetime.fromtimestamp(span.end, STOCKHOLM) == datetime(2026, 4, 1, tzinfo=STOCKHOLM)
    assert span.end - span.start == 28 * 86_400 - 3_600, "one of the nights is an hour short"


def test_span_up_to_a_moment_ends_there() -> None:
    moment = datetime(2026, 3, 31, 10, 30, tzinfo=UTC)
    span = Span(2, moment, STOCKHOLM)
    assert span.end == moment.timestamp()
    assert span.first_day == date(2026, 3, 30)
    assert all(span.start <= at < span.end for at in session_times(span, 500, random.Random(1)))


def test_session_times_follow_the_local_day_and_the_week() -> None:
    span = Span(28, date(2026, 3, 31), STOCKHOLM)
    moments = [datetime.fromtimestamp(at, STOCKHOLM) for at in session_times(span, 20_000, random.Random(1))]
    hours = Counter(moment.hour for moment in moments)
    assert hours[10] > 5 * hours[3]
    weekdays = Counter(moment.weekday() for moment in moments)
    assert weekdays[1] > 1.2 * weekdays[5]


def test_traffic_grows_over_the_range() -> None:
    span = Span(28, date(2026, 3, 31), STOCKHOLM)
    moments = session_times(span, 20_000, random.Random(1))
    week = timedelta(days=7).total_seconds()
    first = sum(at < span.start + week for at in moments)
    last = sum(at >= span.end - week for at in moments)
    assert last > 1.2 * first


def test_same_seed_makes_the_same_sessions() -> None:
    def shape(seed: int) -> list[object]:
        return [
            (session.session_id, session.start_ms, session.url, session.visitor.address, session.events)
            for session in planned_sessions(order(sessions=200, seed=seed))
        ]

    assert shape(1) == shape(1)
    assert shape(1) != shape(2)


def test_as_many_sessions_as_ordered_in_order_of_time(made: list[PlannedSession]) -> None:
    assert len(made) == SMALL.sessions
    assert len({session.session_id for session in made}) == SMALL.sessions
    assert [session.start_ms for session in made] == sorted(session.start_ms for session in made)


def test_events_of_a_session_follow_each_other_and_end_with_the_range(made: list[PlannedSession]) -> None:
    end_ms = int(SMALL.span.end * 1000)
    for session in made:
        times = [event.at_ms for event in session.events]
        assert times == sorted(set(times))
        assert session.start_ms + times[-1] < end_ms
        assert session.events[0].name == "pageview"


def test_every_kind_of_event_occurs(many: list[PlannedSession]) -> None:
    seen = {event.name for session in many for event in session.events}
    assert seen >= STANDARD_EVENTS
    assert {"add_to_basket", "signup", "purchase", "search"} <= seen


def test_bounces_are_between_a_third_and_two_thirds(many: list[PlannedSession]) -> None:
    def bounced(session: PlannedSession) -> bool:
        pageviews = sum(event.name == "pageview" for event in session.events)
        return pageviews == 1 and names(session) <= set(NO_INTERACTION)

    assert 1 / 3 < sum(map(bounced, many)) / len(many) < 2 / 3


def test_funnel_loses_people_at_every_step(many: list[PlannedSession]) -> None:
    kinds = [{event.page.kind for event in session.events} | names(session) for session in many]
    steps = ("home", "product", "pricing", "signup", "purchase")
    counts = [sum(seen >= set(steps[: index + 1]) for seen in kinds) for index in range(len(steps))]
    assert all(0 < after < before for before, after in pairwise(counts))


def test_pages_are_read_very_unequally(many: list[PlannedSession]) -> None:
    views = Counter(event.page.path for session in many for event in session.events if event.page.kind == "article")
    ranked = [count for _, count in views.most_common()]
    assert len(ranked) > 100
    assert ranked[0] > 5 * ranked[20]


def test_experiment_has_an_effect(many: list[PlannedSession]) -> None:
    seen: Counter[str] = Counter()
    converted: Counter[str] = Counter()
    for session in many:
        exposures = [event.details[-1] for event in session.events if event.details[-2] == EXPERIMENT]
        if exposures:
            seen[exposures[0]] += 1
            converted[exposures[0]] += "signup" in names(session)
    assert seen["taste"] == pytest.approx(seen["choose"], rel=0.1)
    assert converted["taste"] / seen["taste"] > 1.1 * converted["choose"] / seen["choose"]


def test_accounts_come_back_less_week_by_week(many: list[PlannedSession]) -> None:
    week_ms = 7 * 86_400_000
    signed_up = {
        event.user_id: session.start_ms for session in many for event in session.events if event.name == "signup"
    }
    returned: dict[int, set[str]] = {}
    early = {user for user, at in signed_up.items() if at < many[0].start_ms + week_ms}
    for session in many:
        user = session.events[0].user_id
        if user in early:
            returned.setdefault((session.start_ms - signed_up[user]) // week_ms, set()).add(user)
    assert len(early) > 20
    assert len(returned[0]) > len(returned[2]) > 0


def test_nobody_is_known_before_signing_up(made: list[PlannedSession]) -> None:
    known: set[str] = set()
    for session in made:
        for event in session.events:
            if event.name == "signup":
                known.add(event.user_id)
            assert not event.user_id or event.user_id in known
