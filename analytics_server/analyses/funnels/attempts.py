"""The best attempt of each subject, as SQL over what its events do.

What an event does for a funnel is a number, an *element*: its time in microseconds and which step it is. An event
that is several steps makes several. Sorted, a subject's elements run through time, and within one instant
exclusions come first, then steps from the last to the first: so the next element of a step, seen from an
element of an earlier step, never lies in the same instant. That is how "later" means a greater time, whatever the
order in which events were stored.

No element is visited twice: for each step, from the last one back, one pass from the end carries to each element
what follows it from that step on (`arrayReverseFill`), so that at last each first step knows the whole attempt that
begins with it. ClickHouse's own `windowFunnel` is not used: of events with equal times, or that are several
steps, it may miss the deepest attempt, and it knows neither times nor exclusions.

Pure text. Input: a SELECT of `subject` and `elements` (in any order). Output: a SELECT of `subject`, `level` (steps
reached), `start` (µs, step 1) and `after` (µs from step 1 to the steps behind it, `level - 1` of them).
"""

from __future__ import annotations

from collections.abc import Sequence

from analytics_server.analyses.funnels.definition import Funnel
from analytics_server.query.parameters import Binder
from analytics_server.query.sql.select import Select, Subquery, select

WIDTH = 32
"""An element is its time in microseconds times this, plus what tells its number."""

_EXCLUSIONS_FROM = 20
"""Step 1 is number 1; exclusions follow behind step 20."""

OTHER = 0
"""An event that matches step 1 outside the range: it is no step, but `strict` has to see it."""

_SCORE = 1 << 53
"""A score is the level times this, and what is left of it is greater the earlier the start."""


def element(at: str, number: int) -> str:
    """The element with that number at the time `at` (µs, UInt64)."""
    return f"({at} * {WIDTH} + {WIDTH - 1 - number})"


def exclusion_number(index: int) -> int:
    """The number of the exclusion at that place."""
    return _EXCLUSIONS_FROM + 1 + index


def best_attempts(funnel: Funnel, elements: Select, binder: Binder, extra: Sequence[str] = ()) -> Select:
    """A SELECT of the best attempts from a SELECT of `subject` and `elements`; `extra` columns are handed through."""
    binder.name("window", funnel.window_us, "UInt64")
    carried = ["subject", *extra]
    kept = [*carried, "first", "ats"]
    chains = "arrayMap(a -> emptyArrayUInt64(), ats)"
    for step in range(len(funnel.steps), 1, -1):  # One in the other: far quicker to analyse than nested SELECTs.
        chains = _chains(funnel, step, chains)
    around = _select([*kept, "numbers", *_around(funnel)], _sorted(funnel, elements, carried))
    others = [f"x{index}" for index in range(len(funnel.exclude))]
    others += ["moment"] if funnel.order == "strict" else []
    chained = _select([*kept, "numbers", *others, f"{chains} AS chains"], around)
    scored = _select([*kept, "chains", f"{_scores(funnel)} AS scores"], chained)
    best = _select(
        [
            *carried,
            "empty(ats) AS alone",
            "arrayMax(scores) AS score",
            f"if(alone, 1, intDiv(score, {_SCORE})) AS level",
            f"if(alone, first, toUInt64({_SCORE - 1} - score % {_SCORE})) AS start",
            f"arraySlice(chains[indexOf(scores, score)], {len(funnel.exclude) + 1}) AS chain",
        ],
        scored,
    )
    times = "arraySort(chain)" if funnel.order == "any" else "chain"
    after = f"arraySlice(arrayMap(t -> toUInt64(t - start), {times}), 1, level - 1)"
    return _select([*carried, "level", "start", f"{after} AS after"], best, "level > 0")


def _sorted(funnel: Funnel, elements: Select, carried: Sequence[str]) -> Select:
    """Times and numbers in order, and only where there is more than a first step to look at."""
    last = len(funnel.steps)
    more = f"{_number('x')} BETWEEN 2 AND {last if funnel.order == 'any' else 2}"
    first = _at(f"arrayMin(arrayFilter(x -> {_number('x')} = 1, elements))")
    way = f"if(arrayExists(x -> {more} AND {_at('x')} > first, elements), arraySort(elements), emptyArrayUInt64())"
    entered = _select([*carried, "elements", f"{first} AS first", f"{way} AS way"], elements, "first > 0")
    ats, numbers = f"arrayMap(x -> {_at('x')}, way)", f"arrayMap(x -> toUInt8({_number('x')}), way)"
    return _select([*carried, "first", f"{ats} AS ats", f"{numbers} AS numbers"], entered)


def _around(funnel: Funnel) -> list[str]:
    """What each element sees behind it besides steps, as columns.

    `x<e>`: when the next event of an exclusion happens. `moment`: when the next step of any number happens, later.
    """
    columns = []
    for index in range(len(funnel.exclude)):
        number = exclusion_number(index)
        times = f"arrayMap((a, n) -> if(n = {number}, a, 0), ats, numbers)"
        columns.append(f"arrayReverseFill((t, n) -> n = {number}, {times}, numbers) AS x{index}")
    if funnel.order == "strict":
        is_step = f"n <= {_EXCLUSIONS_FROM}"
        steps = f"arrayReverseFill((t, n) -> {is_step}, arrayMap((a, n) -> if({is_step}, a, 0), ats, numbers), numbers)"
        behind = f"arraySlice(arrayPushBack({steps}, 0), 2)"
        columns.append(f"arrayReverseFill((t, a) -> t != a, {behind}, ats) AS moment")
    return columns


def _chains(funnel: Funnel, step: int, behind: str) -> str:
    """For each element, what follows from this step on, made of what follows from the step behind it (`behind`).

    A chain is, per exclusion, the first such event behind its step `after` (0: none), and then the times of its steps.
    The last element keeps its own chain, which is empty unless it is this step.
    """
    if funnel.order == "any":  # Each step for itself: the next time of each step that there is.
        times = f"arrayMap((a, n) -> if(n = {step}, a, 0), ats, numbers)"
        following = f"arrayReverseFill((t, n) -> n = {step}, {times}, numbers)"
        return f"arrayMap((c, t) -> if(t = 0, c, arrayPushBack(c, t)), {_padded(funnel, step, behind)}, {following})"
    chain = f"arrayConcat([{', '.join([*_bars(funnel, step), 'a'])}], {_tail(funnel)})"
    return (
        f"arrayReverseFill((c, n) -> n = {step}, "
        f"{_map(funnel, f'if(n = {step}, {chain}, emptyArrayUInt64())', behind)}, numbers)"
    )


def _padded(funnel: Funnel, step: int, behind: str) -> str:
    """In any order the exclusions' places are kept free in front of the times."""
    if step < len(funnel.steps) or not funnel.exclude:
        return behind
    return f"arrayMap(c -> CAST([{', '.join('0' for _ in funnel.exclude)}], 'Array(UInt64)'), {behind})"


def _bars(funnel: Funnel, step: int) -> list[str]:
    """Per exclusion, its first event behind the step `after`, at an element of this step."""
    found = []
    for index, one in enumerate(funnel.exclude):
        behind = "toUInt64(0)" if one.after < step else f"({_unbroken(funnel)})[{index + 1}]"
        found.append(f"x{index}" if one.after == step else behind)
    return found


def _unbroken(funnel: Funnel) -> str:
    """The chain behind an element; in a strict funnel only if it goes on with the very next step of any number."""
    if funnel.order != "strict":
        return "c"
    return f"if(c[{len(funnel.exclude) + 1}] = m, c, emptyArrayUInt64())"


def _tail(funnel: Funnel) -> str:
    """The times of the chain behind an element."""
    return f"arraySlice({_unbroken(funnel)}, {len(funnel.exclude) + 1})" if funnel.exclude else _unbroken(funnel)


def _map(funnel: Funnel, body: str, chains: str) -> str:
    """A value for each element: `a` its time, `n` its number, `c` the chain behind it, `m` the next moment."""
    names, arrays = ["a", "n", "c"], ["ats", "numbers", chains]
    for index in range(len(funnel.exclude)):
        names.append(f"x{index}")
        arrays.append(f"x{index}")
    if funnel.order == "strict":
        names.append("m")
        arrays.append("moment")
    return f"arrayMap(({', '.join(names)}) -> {body}, {', '.join(arrays)})"


def _scores(funnel: Funnel) -> str:
    """For each element that begins an attempt its score; 0 for others, and for attempts that are void."""
    within = f"arrayFilter(t -> t <= a + {{window:UInt64}}, {_tail(funnel)})"
    times = f"arraySort(arrayPushFront({within}, a))" if funnel.order == "any" else f"arrayPushFront({within}, a)"
    conditions = ["n = 1"]
    for bar, one in zip(_bars(funnel, 1), funnel.exclude, strict=True):
        end = f"({times})[least({one.before}, length({times}))]" if one.before else f"({times})[-1]"
        conditions.append(f"NOT (length({times}) > {one.after} AND {bar} > 0 AND {bar} < {end})")
    score = f"toUInt64(length({times}) * {_SCORE} + {_SCORE - 1} - a)"
    return _map(funnel, f"if({' AND '.join(conditions)}, {score}, 0)", "chains")


def _select(columns: Sequence[str], rows: Select, *where: str) -> Select:
    return select(columns, Subquery(rows), where)


def _at(element_: str) -> str:
    return f"intDiv({element_}, {WIDTH})"


def _number(element_: str) -> str:
    return f"({WIDTH - 1} - {element_} % {WIDTH})"
