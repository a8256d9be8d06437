"""Exposures, conversions, revenue and exclusions against the brute-force oracle, exactly, on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from fractions import Fraction
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_server.analyses.experiments.answer import GoalResult, ResultsAnswer
from analytics_server.analyses.experiments.definition import ExperimentBody, Variant
from analytics_server.analyses.experiments.results import ResultsRequest, run_results
from analytics_server.saved.store import Kind, SavedThing
from tests.analyses.experiments.conftest import Place
from tests.analyses.experiments.oracle import Counted, Oracle
from tests.analyses.experiments.stream import HOUR, KEY, START, WINDOW_S, Happening, happenings, insert
from tests.query.world import micros, moment

Maker = Callable[[Oracle], Callable[[Happening], Any]]

GOALS: dict[str, tuple[object, Maker]] = {
    "by name": ("buy", lambda o: lambda e: e.name == "buy"),
    "again": ("exposure", lambda o: lambda e: e.name == "exposure"),
    "page": (
        {"name": "pageview", "filters": [["is", "event:page", ["/preise/für-alle"]]]},
        lambda o: lambda e: e.name == "pageview" and e.path == "/preise/für-alle",
    ),
    "seen": (
        {"name": "Seen", "filters": [["is", "event:page", ["/"]]]},
        lambda o: lambda e: e.path == "/" and not e.is_passive,
    ),
    "read": (
        {"name": "Read", "filters": [["is", "event:page", ["/"]], ["contains", "event:name", ["croll"]]]},
        lambda o: lambda e: e.path == "/" and e.is_passive,
    ),
    "country": (
        {"name": "buy", "filters": [["is_not", "visit:country", ["DE"]]]},
        lambda o: lambda e: e.name == "buy" and e.country != "DE",
    ),
    "entry": (
        {"name": "Anmeldung ✓", "filters": [["is", "visit:entry_page", ["/", ""]]]},
        lambda o: lambda e: e.name == "Anmeldung ✓" and o.entry_page(e) in ("/", ""),
    ),
}
FILTERS: dict[str, tuple[list[object], Maker]] = {
    "none": ([], lambda o: lambda e: True),
    "country": ([["is", "visit:country", ["DE", "SE"]]], lambda o: lambda e: e.country in ("DE", "SE")),
    "page": ([["is_not", "event:page", ["/"]]], lambda o: lambda e: e.path != "/"),
    "entry": ([["is", "visit:entry_page", [""]]], lambda o: lambda e: o.entry_page(e) == ""),
    "done": (
        [["has_done", ["is", "event:name", ["buy"]]]],
        lambda o: lambda e: any(other.name == "buy" for other in o.sessions[e.opened, e.session]),
    ),
}
VALUES: dict[str, Maker] = {
    "": lambda o: lambda e: "",
    "visit:country": lambda o: lambda e: e.country,
    "event:page": lambda o: lambda e: e.path,
    "visit:entry_page": lambda o: o.entry_page,
}
VARIANTS = ("a", "b", "ç")
RANGES = ((0, 26), (0, 24 * 7), (-3, 2), (1, 25))


def saved(site_id: str) -> SavedThing:
    body = ExperimentBody(key=KEY, variants=tuple(Variant(name=name) for name in VARIANTS), control="a")
    raw = msgspec.Raw(msgspec.json.encode(body))
    return SavedThing(
        kind=Kind.EXPERIMENT, site_id=site_id, id="e1", name="cta", body=raw, created_at_ms=0, updated_at_ms=0
    )


def check(found: Sequence[GoalResult], truth: dict[str, Counted]) -> None:
    """The same subjects, conversions and revenue in each variant and goal."""
    for place, goal in enumerate(found):
        assert [variant.name for variant in goal.variants] == list(truth)
        for variant in goal.variants:
            counted = truth[variant.name]
            assert (variant.exposures, variant.conversions) == (counted.exposures, counted.conversions[place])
            spent = {money.currency: money for money in variant.revenue}
            assert set(counted.spent[place]) <= set(spent)
            for currency, money in spent.items():
                total = sum(counted.spent[place].get(currency, []))
                assert money.total == float(Fraction(total, 10_000))
                mean = Fraction(total, 10_000 * counted.exposures) if counted.exposures else None
                assert money.per_subject == (None if mean is None else float(mean))


def ask(place: Place, events: Sequence[Happening], **parts: Any) -> ResultsAnswer:
    site, other = place.new_site(), place.new_site()
    request = msgspec.convert(parts, ResultsRequest)

    async def run() -> ResultsAnswer:
        await insert(place.store, site.site_id, events, other=other.site_id)
        return await run_results(place.context(), site, "e1", saved(site.site_id), request)

    return asyncio.run(run())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=happenings(),
    goals=st.lists(st.sampled_from(sorted(GOALS)), min_size=1, max_size=3, unique=True),
    filtered=st.sampled_from(("none", "none", *FILTERS)),
    value=st.sampled_from(sorted(VALUES)),
    hours=st.sampled_from(RANGES),
    later=st.sampled_from((1, 3, 24, 400)),
)
def test_counts_what_the_oracle_counts(
    place: Place,
    events: list[Happening],
    goals: list[str],
    filtered: str,
    value: str,
    hours: tuple[int, int],
    later: int,
) -> None:
    oracle = Oracle(events)
    first, last = micros(START) + hours[0] * HOUR, micros(START) + hours[1] * HOUR
    place.now = micros(START) + later * HOUR
    filters, passes = FILTERS[filtered]
    answer = ask(
        place,
        events,
        goals=[GOALS[name][0] for name in goals],
        filters=filters,
        breakdown=value,
        limit=20,
        date_range=[moment(first).isoformat(), moment(last).isoformat()],
        window=WINDOW_S,
    )
    truth = oracle.count(
        KEY,
        VARIANTS,
        [GOALS[name][1](oracle) for name in goals],
        start=first,
        end=last,
        window=WINDOW_S * 1_000_000,
        now=place.now,
        counts=passes(oracle),
        value=VALUES[value](oracle),
    )
    check(answer.goals, truth.variants)
    assert answer.variants == answer.goals[0].variants
    assert (answer.excluded.several_variants, answer.excluded.unknown_variant) == (truth.several, truth.unknown)
    assert answer.maturing == truth.maturing
    if value:
        assert isinstance(answer.breakdown, list)
        by_value = {row.value: row for row in answer.breakdown}
        assert by_value.keys() == truth.values.keys()
        assert answer.meta.total_rows == len(truth.values)
        for text, row in by_value.items():
            check(row.goals, truth.values[text])
            assert row.exposures == sum(counted.exposures for counted in truth.values[text].values())
        sizes = [row.exposures for row in answer.breakdown]
        assert sizes == sorted(sizes, reverse=True)
    else:
        assert answer.breakdown is msgspec.UNSET


def test_the_range_is_of_the_site_s_days_and_its_end_is_excluded(place: Place) -> None:
    at = micros(START + timedelta(hours=25))  # the day has 25 hours
    place.now = at
    events = [
        Happening(at=at - 1, name="exposure", session="s", opened=at - 1, experiment=KEY, variant="a"),
        Happening(at=at, name="exposure", session="t", opened=at, experiment=KEY, variant="b"),
    ]
    answer = ask(place, events, goal="buy", date_range=["2025-10-26", "2025-10-26"], window=WINDOW_S)
    assert [variant.exposures for variant in answer.variants] == [1, 0, 0]


def test_every_rule_once(place: Place) -> None:
    at, minute = micros(START) + HOUR, 60_000_000
    window = WINDOW_S * 1_000_000
    place.now = at + 24 * HOUR

    def one(session: str, after: int, name: str, variant: str = "", user: str = "", path: str = "/") -> Happening:
        key = KEY if variant else ""
        return Happening(
            at=at + after, name=name, session=session, opened=at, experiment=key, variant=variant, user=user, path=path
        )

    events = [
        # The window's edges, and equal times.
        one("edge", 0, "exposure", "a"),
        one("edge", window, "buy"),
        one("late", 0, "exposure", "a"),
        one("late", window + 1, "buy"),
        one("equal", 0, "exposure", "a"),
        one("equal", 0, "buy"),
        one("next", 0, "exposure", "a"),
        one("next", 1, "buy"),
        # Logs in after the exposure, buys elsewhere.
        one("login", 0, "exposure", "b"),
        one("login", minute, "pageview", user="L1"),
        one("elsewhere", 2 * minute, "buy", user="L1"),
        # Known at the exposure, buys in another session before it says who it is.
        one("known", 0, "exposure", "b", user="L2"),
        one("again", minute, "buy"),
        one("again", 2 * minute, "pageview", user="L2"),
        # Two users in a session: what has none belongs to the last by name.
        one("shared", 0, "exposure", "b"),
        one("shared", 1, "pageview", user="M2"),
        one("shared", 2, "pageview", user="M1"),
        one("of the last", minute, "buy", user="M2"),
        # Left out: two variants, in one session and through a user; an unknown one, alone and beside a known one.
        one("both", 0, "exposure", "a"),
        one("both", 1, "exposure", "b"),
        one("first of W", 0, "exposure", "a"),
        one("first of W", 1, "pageview", user="W"),
        one("second of W", minute, "exposure", "b", user="W"),
        one("unknown", 0, "exposure", "zzz"),
        one("half known", 0, "exposure", "a"),
        one("half known", 1, "exposure", "zzz"),
        # Not in the range, not of this experiment, never exposed.
        one("before", -HOUR - 1, "exposure", "a"),
        one("first", -HOUR, "exposure", "a"),
        one("end", 3 * HOUR, "exposure", "a"),
        one("stranger", 1, "buy"),
        # The first exposure's page.
        one("pages", 5, "exposure", "a", path="/y"),
        one("pages", 4, "exposure", "a", path="/x"),
        # Converts after the range.
        one("last", 3 * HOUR - 1, "exposure", "b"),
        one("last", 4 * HOUR, "buy"),
    ]
    hours = [moment(at - HOUR).isoformat(), moment(at + 3 * HOUR).isoformat()]
    answer = ask(place, events, goal="buy", date_range=hours, window=WINDOW_S, breakdown="event:page")
    assert [(v.exposures, v.conversions) for v in answer.variants] == [(6, 2), (4, 4), (0, 0)]
    assert (answer.excluded.several_variants, answer.excluded.unknown_variant) == (3, 1)
    assert isinstance(answer.breakdown, list)
    assert [(row.value, row.exposures) for row in answer.breakdown] == [("/", 9), ("/x", 1)]
    truth = Oracle(events).count(
        KEY,
        VARIANTS,
        [lambda e: e.name == "buy"],
        start=at - HOUR,
        end=at + 3 * HOUR,
        window=window,
        now=place.now,
    )
    check(answer.goals, truth.variants)


def test_subjects_mature_when_their_window_is_over(place: Place) -> None:
    at = micros(START)
    events = [
        Happening(at=at + number, name="exposure", session=f"s{number}", opened=at, experiment=KEY, variant="a")
        for number in range(3)
    ]
    place.now = at + 1 + WINDOW_S * 1_000_000
    assert ask(place, events, goal="buy", date_range="all", window=WINDOW_S).maturing == 1


def test_of_many_variants_the_most_frequent_are_evaluated(place: Place) -> None:
    at, site = micros(START), place.new_site()
    place.now = at + HOUR
    events = [
        Happening(at=at, name="exposure", session=f"s{n}", opened=at, experiment="many", variant=f"v{n % 11:02}")
        for n in range(21)
    ]

    async def run() -> ResultsAnswer:
        await insert(place.store, site.site_id, events)
        return await run_results(place.context(), site, "many", None, msgspec.convert({"goal": "buy"}, ResultsRequest))

    answer = asyncio.run(run())
    assert [variant.name for variant in answer.variants] == [f"v{n:02}" for n in range(10)]
    assert [variant.exposures for variant in answer.variants] == [2] * 10
    assert answer.excluded.unknown_variant == 1
    assert answer.meta.warnings == ["Only the 10 variants with most exposures are evaluated."]
