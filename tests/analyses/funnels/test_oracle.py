"""Every funnel equals what the oracle counts by looking at each attempt, on both engines."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from analytics_server.analyses.funnels.answer import StepAnswer
from analytics_server.analyses.funnels.definition import DrillRequest, FunnelRequest
from tests.analyses.funnels import oracle
from tests.analyses.funnels.conftest import Place, iso
from tests.analyses.funnels.oracle import Bar, Plan
from tests.analyses.funnels.streams import BASE, DAY_US, NAMES, PATHS, PLANS, SECOND, Happening, insert, streams
from tests.query.world import moment

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")
"""An example that fails is shown, however long it is."""

EXAMPLES = 3
TOGETHER = 12
"""So many streams are inserted at once, each for a site of its own: an insert takes longer than a question."""


@dataclass(frozen=True, slots=True)
class Spec:
    """Some events, as the request says it and as the oracle tests it."""

    sent: dict[str, object]
    test: oracle.Test


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    name = draw(st.sampled_from(NAMES[:5]))
    match draw(st.integers(0, 5)):
        case 0 | 1:
            return Spec({"event": name}, lambda event: event.name == name)
        case 2:
            path = draw(st.sampled_from(PATHS))
            return Spec(
                {"filters": [["is", "event:page", [path]]]}, lambda event: event.path == path and not event.is_passive
            )
        case 3:
            plan = draw(st.sampled_from(PLANS))
            return Spec(
                {"event": name, "filters": [["is_not", "event:props:plan", [plan]]]},
                lambda event: event.name == name and event.plan != plan,
            )
        case 4:
            path = draw(st.sampled_from(PATHS))
            return Spec(  # the alternative that names the event is met by a passive one
                {"filters": [["or", [["is", "event:page", [path]], ["is", "event:name", [name]]]]]},
                lambda event: event.name == name or (event.path == path and not event.is_passive),
            )
    return Spec(
        {"filters": [["is_not", "event:name", [name]]]}, lambda event: event.name != name and not event.is_passive
    )


@dataclass(frozen=True, slots=True)
class Case:
    """A funnel, as the request says it and as the oracle counts it."""

    sent: dict[str, object]
    plan: Plan
    start: int
    end: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    steps = draw(st.lists(specs(), min_size=2, max_size=5))
    order = draw(st.sampled_from(("ordered", "ordered", "strict", "any")))
    by = draw(st.sampled_from(("session", "visitor", "user")))
    window_s = draw(st.sampled_from((1, 2, 11, 3_600, 90_000, 90 * 86_400)))
    exclude, bars = [], []
    for _ in range(draw(st.sampled_from((0, 0, 1, 2)))):
        spec = draw(specs())
        after = 1 if order == "any" else draw(st.integers(1, len(steps) - 1))
        before = draw(st.sampled_from((0, *range(after + 1, len(steps) + 1))))
        exclude.append(spec.sent | {"after": after} | ({"before": before} if before else {}))
        bars.append(Bar(spec.test, after, before))
    start = BASE + draw(st.sampled_from((-DAY_US * 3, -SECOND, 0, 1, 3_600 * SECOND)))
    end = start + draw(st.sampled_from((SECOND, 7_200 * SECOND, DAY_US, 20 * DAY_US)))
    sent: dict[str, object] = {
        "steps": [spec.sent for spec in steps],
        "window": window_s,
        "order": order,
        "by": by,
        "exclude": exclude,
        "date_range": [iso(start), iso(end)],
    }
    tests = [spec.test for spec in steps]
    keep: oracle.Test = lambda event: True  # noqa: E731
    if draw(st.booleans()):
        sent["filters"] = [["is_not", "visit:source", ["Google"]]]
        keep = lambda event: event.source != "Google"  # noqa: E731
    plan = Plan(steps=tests, window=window_s * SECOND, order=order, by=by, bars=bars, keep=keep)
    return Case(sent, plan, start, end)


def numbers(steps: list[StepAnswer]) -> list[tuple[int, float | None, float | None]]:
    return [(step.count, step.median_seconds, step.step_median_seconds) for step in steps]


Streams = list[tuple[list[Happening], Case]]
many = st.lists(st.tuples(streams(), cases()), min_size=TOGETHER, max_size=TOGETHER)
patiently = settings(
    max_examples=EXAMPLES,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


def sites_with(place: Place, asked: Streams) -> list[tuple[str, list[Happening], Case]]:
    """Insert each stream for a site of its own."""
    found = [(place.new_site(), events, case) for events, case in asked]
    place.runner.run(insert(place.store, {site_id: events for site_id, events, _ in found}))
    return found


@patiently
@given(asked=many)
def test_funnels_equal_the_oracle(place: Place, asked: Streams) -> None:
    for site_id, events, case in sites_with(place, asked):
        request = msgspec.convert({"site_id": site_id, **case.sent}, FunnelRequest)
        attempts = oracle.best_attempts(case.plan, events, case.start, case.end)
        answer = place.runner.run(place.service.run(request))
        assert numbers(answer.steps) == oracle.steps_of(case.plan, list(attempts.values()))


@patiently
@given(asked=many, dimension=st.sampled_from(("event:page", "visit:source", "event:props:plan")))
def test_breakdowns_equal_the_oracle(place: Place, asked: Streams, dimension: str) -> None:
    for site_id, events, case in sites_with(place, asked):
        check_breakdown(place, site_id, events, case, dimension)


def check_breakdown(place: Place, site_id: str, events: list[Happening], case: Case, dimension: str) -> None:
    request = msgspec.convert({"site_id": site_id, "breakdown": dimension, **case.sent}, FunnelRequest)
    attempts = oracle.best_attempts(case.plan, events, case.start, case.end)

    def value(event: Happening) -> str:
        return {"event:page": event.path, "visit:source": event.source, "event:props:plan": event.plan}[dimension]

    groups = defaultdict(list)
    for attempt in attempts.values():
        groups[oracle.value_at_entry(case.plan, attempt, events, value)].append(attempt)
    answer = place.runner.run(place.service.run(request))
    assert numbers(answer.steps) == oracle.steps_of(case.plan, list(attempts.values()))
    order = sorted(groups, key=lambda name: (-len(groups[name]), name))
    assert [(one.value, numbers(one.steps)) for one in answer.breakdown] == [
        (name, oracle.steps_of(case.plan, groups[name])) for name in order
    ]
    assert answer.meta.total_rows == len(groups)


@patiently
@given(asked=many, kind=st.sampled_from(("dropped", "reached")), place_of_step=st.integers(0, 4))
def test_sessions_listed_equal_the_oracle(place: Place, asked: Streams, kind: str, place_of_step: int) -> None:
    for site_id, events, case in sites_with(place, asked):
        first = 2 if kind == "dropped" else 1
        check_list(place, site_id, events, case, kind, min(first + place_of_step, len(case.plan.steps)))


def check_list(place: Place, site_id: str, events: list[Happening], case: Case, kind: str, step: int) -> None:
    request = msgspec.convert({"site_id": site_id, "drill": {"step": step, "kind": kind}, **case.sent}, DrillRequest)
    attempts = oracle.best_attempts(case.plan, events, case.start, case.end)
    wanted = [one for one in attempts.values() if (one.level >= step if kind == "reached" else one.level == step - 1)]
    answer = place.runner.run(place.service.sessions(request))
    assert answer.total == len(wanted) == len(answer.sessions)
    assert sorted((one.entered_at, one.steps) for one in answer.sessions) == sorted(
        (moment(one.times[0]).isoformat(), one.level) for one in wanted
    )
    for shown in answer.sessions:
        own = [event for event in events if event.session_id == shown.session_id]
        # The same id may have been opened at several times.
        sessions = [[event for event in own if event.opened_at == opened] for opened in {one.opened_at for one in own}]
        assert (shown.started_at, shown.entry_page, shown.source) in [
            (moment(min(event.at for event in session)).isoformat(), entry_page(session), session[0].source)
            for session in sessions
        ]


def entry_page(session: list[Happening]) -> str:
    return min([(event.at, event.path) for event in session if event.name == "pageview"], default=(0, ""))[1]


@given(events=streams(), case=cases())
def test_no_other_choice_of_events_goes_deeper(events: list[Happening], case: Case) -> None:
    """Taking the next event for each step loses nothing: the oracle's rule is the best there is."""
    plan = case.plan
    if plan.order != "ordered" or plan.bars:
        return
    for attempt in oracle.best_attempts(plan, events, case.start, case.end).values():
        subject = oracle._subject(plan.by, attempt.event)
        own = [event for event in events if plan.keep(event) and oracle._subject(plan.by, event) == subject]
        entries = [event for event in own if case.start <= event.at < case.end and plan.steps[0](event)]
        assert attempt.level == max(_deepest(plan, own, entry.at, entry.at, 1) for entry in entries)


def _deepest(plan: Plan, own: list[Happening], begun: int, at: int, level: int) -> int:
    if level == len(plan.steps):
        return level
    ways = {event.at for event in own if at < event.at <= begun + plan.window and plan.steps[level](event)}
    return max((_deepest(plan, own, begun, way, level + 1) for way in ways), default=level)


@pytest.mark.parametrize("order", ["ordered", "strict", "any"])
def test_a_site_without_events_has_empty_steps(place: Place, order: str) -> None:
    request = msgspec.convert(
        {"site_id": place.new_site(), "date_range": "30d", "steps": [{"name": "a"}, {"name": "b"}], "order": order},
        FunnelRequest,
    )
    answer = place.runner.run(place.service.run(request))
    assert [msgspec.to_builtins(step) for step in answer.steps] == [
        {
            "name": name,
            "count": 0,
            "conversion": None,
            "step_conversion": None,
            "dropped": 0,
            "median_seconds": None,
            "step_median_seconds": None,
        }
        for name in ("a", "b")
    ]
    broken = msgspec.structs.replace(request, breakdown="visit:source")
    assert place.runner.run(place.service.run(broken)).breakdown == []


def test_filters_and_breakdowns_know_the_whole_session(place: Place) -> None:
    """has_done, entry and exit page stand in no event."""
    site_id = place.new_site()

    def happening(at: int, session: int, name: str, path: str) -> Happening:
        return Happening(
            at=BASE + at * SECOND, name=name, path=path, plan="", source="", session=session, opened_at=BASE, user_id=""
        )

    events = [
        happening(1, 0, "pageview", "/"),
        happening(2, 0, "pageview", "/preise"),
        happening(3, 0, "click", "/preise"),
        happening(1, 1, "pageview", "/preise"),
        happening(2, 1, "click", "/preise"),
        happening(3, 1, "Anmeldung ✓", "/preise"),
    ]
    place.runner.run(insert(place.store, {site_id: events}))
    steps = [{"event": "pageview"}, {"event": "click"}]

    def counts(**more: object) -> list[int]:
        sent = {"site_id": site_id, "date_range": ["2025-10-20", "2025-11-10"], "steps": steps, **more}
        answer = place.runner.run(place.service.run(msgspec.convert(sent, FunnelRequest)))
        return [step.count for steps_ in (answer.steps, *(one.steps for one in answer.breakdown)) for step in steps_]

    assert counts() == [2, 2]
    assert counts(filters=[["has_done", ["is", "event:name", ["Anmeldung ✓"]]]]) == [1, 1]
    assert counts(filters=[["is", "visit:entry_page", ["/"]]]) == [1, 1]
    assert counts(filters=[["is", "visit:exit_page", ["/preise"]]], breakdown="visit:entry_page") == [2, 2, 1, 1, 1, 1]
    assert counts(steps=[{"event": "pageview", "filters": [["is", "visit:entry_page", ["/preise"]]]}, steps[1]]) == [
        1,
        1,
    ]
