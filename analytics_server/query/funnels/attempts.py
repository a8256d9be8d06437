"""The best attempt of each subject, as SQL over what its events do.

What an event does for a funnel is a number, an *element*: its time in microseconds and which step it is. An event
that is several steps makes several. Sorted, a subject's elements run through time, and within one instant
exclusions come first, then steps from the last to the first: so the next element of a step, seen from an
element of an earlier step, never lies in the same instant. That is how "later" means a greater time, whatever the
order in which events were stored.

No element is visited twice: for each step, one pass from the end fills in what a way from there looks like
(`arrayReverseFill` carries the next step's times back), so that at last each first step knows the whole attempt that
begins with it. ClickHouse's own `windowFunnel` is not used: of events with equal times, or that are several
steps, it may miss the deepest attempt, and it knows neither times nor exclusions.

Pure text. Input: a SELECT of `subject` and `elements` (in any order). Output: a SELECT of `subject`, `level` (steps
reached), `start` (µs, step 1) and `after` (µs from step 1 to the steps behind it, `level - 1` of them).
"""

from __future__ import annotations

from collections.abc import Sequence

from analytics_server.query.binding import Binder
from analytics_server.query.funnels.definition import Exclusion, Funnel
from analytics_server.query.scoped import indent

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


def best_attempts(funnel: Funnel, elements: str, binder: Binder, extra: Sequence[str] = ()) -> str:
    """A SELECT of the best attempts from a SELECT of `subject` and `elements`; `extra` columns are handed through."""
    binder.name("window", funnel.window_us, "UInt64")
    carried = "".join(f", {name}" for name in extra)
    body = _ways(funnel, _sorted(funnel, elements, carried), carried)
    scored = (
        f"SELECT *, arrayMax({_scores(funnel)}) AS score,\n"
        f"    if(empty(ats), 1, intDiv(score, {_SCORE})) AS level,\n"
        f"    if(empty(ats), first, {_SCORE - 1} - score % {_SCORE}) AS start\n"
        f"FROM (\n{indent(body)}\n)"
    )
    return (
        f"SELECT subject{carried}, level, start,\n    if(level < 2, emptyArrayUInt64(), {_after(funnel)}) AS after\n"
        f"FROM (\n{indent(scored)}\n)\nWHERE level > 0"
    )


def _sorted(funnel: Funnel, elements: str, carried: str) -> str:
    """Times and numbers in order, and only where there is more than a first step to look at."""
    last = len(funnel.steps)
    more = f"{_number('x')} BETWEEN 2 AND {last if funnel.order == 'any' else 2}"
    first = _at(f"arrayMin(arrayFilter(x -> {_number('x')} = 1, elements))")
    way = f"if(arrayExists(x -> {more} AND {_at('x')} > first, elements), arraySort(elements), emptyArrayUInt64())"
    return (
        f"SELECT subject{carried}, first, arrayMap(x -> {_at('x')}, way) AS ats,"
        f" arrayMap(x -> toUInt8({_number('x')}), way) AS numbers\n"
        f"FROM (\n    SELECT subject{carried}, elements, {first} AS first, {way} AS way\n"
        f"    FROM (\n{indent(indent(elements))}\n    )\n    WHERE first > 0\n)"
    )


def _ways(funnel: Funnel, source: str, carried: str) -> str:
    """One level of SELECT per step, from the last one back: what the way that begins behind each element looks like.

    `t<m>_<k>` are the times of step m on the way from step k, `b<e>_<k>` the first event of exclusion e behind that
    way's step `after`; both 0 if there is none. `x<e>`: the next event of an exclusion. `moment`: when the next
    steps of any number happen.
    """
    columns = [
        f"{_carry(_times_of(exclusion_number(index)), exclusion_number(index))} AS x{index}"
        for index in range(len(funnel.exclude))
    ]
    kept = f"subject{carried}, first, ats, numbers" + "".join(f", x{index}" for index in range(len(funnel.exclude)))
    if funnel.order == "strict":
        is_step = f"n <= {_EXCLUSIONS_FROM}"
        steps = f"arrayReverseFill((v, n) -> {is_step}, arrayMap((a, n) -> if({is_step}, a, 0), ats, numbers), numbers)"
        behind = f"arraySlice(arrayPushBack({steps}, 0), 2)"
        columns.append(f"arrayReverseFill((v, a) -> v != a, {behind}, ats) AS moment")
        kept += ", moment"
    sql = _select([f"subject{carried}, first, ats, numbers", *columns], source)
    for step in range(len(funnel.steps), 1, -1):
        sql = _select([kept, *_behind(funnel, step)], sql)
    return sql


def _behind(funnel: Funnel, step: int) -> list[str]:
    """What each element sees behind it from this step on, as columns."""
    columns = [f"{_carry(_times_of(step), step)} AS t{step}_{step}"]
    for name in _names(funnel, step + 1):
        old, new = f"{name}_{step + 1}", f"{name}_{step}"
        if funnel.order == "any":
            columns.append(f"{old} AS {new}")
        elif funnel.order == "strict":
            follows = f"n = {step} AND t = m"
            here = f"arrayMap((v, n, t, m) -> if({follows}, v, 0), {old}, numbers, t{step + 1}_{step + 1}, moment)"
            columns.append(f"{_carry(here, step)} AS {new}")
        else:
            columns.append(f"{_carry(f'arrayMap((v, n) -> if(n = {step}, v, 0), {old}, numbers)', step)} AS {new}")
    for index, exclusion in enumerate(funnel.exclude):
        if exclusion.after == step:
            here = f"arrayMap((v, n) -> if(n = {step}, v, 0), x{index}, numbers)"
            columns.append(f"{_carry(here, step)} AS b{index}_{step}")
    return columns


def _names(funnel: Funnel, step: int) -> list[str]:
    """What a way from this step knows of itself."""
    names = [f"t{later}" for later in range(step, len(funnel.steps) + 1)]
    return names + [f"b{index}" for index, one in enumerate(funnel.exclude) if one.after >= max(step, 2)]


def _scores(funnel: Funnel) -> str:
    """For each element that begins an attempt its score; 0 for others, and for attempts that are void."""
    steps = range(2, len(funnel.steps) + 1)
    bars = [f"b{index}_2" if one.after > 1 else f"x{index}" for index, one in enumerate(funnel.exclude)]
    arguments = [*(f"t_{step}" for step in steps), *(f"bar_{index}" for index in range(len(bars)))]
    arrays = [*(f"t{step}_2" for step in steps), *bars]
    goes_on = "1"
    if funnel.order == "strict":
        goes_on = "t_2 = m"
        arguments.append("m")
        arrays.append("moment")
    reached = [f"({goes_on} AND t_{step} BETWEEN a AND a + {{window:UInt64}})" for step in steps]
    level = f"(1 + {' + '.join(reached)})"
    conditions = ["n = 1"]
    if bars:
        times = ", ".join(f"if({how}, t_{step}, 0)" for step, how in zip(steps, reached, strict=True))
        ordered = f"arraySort(arrayFilter(t -> t > 0, [a, {times}]))"
        conditions += [_not_void(one, index, level, ordered) for index, one in enumerate(funnel.exclude)]
    score = f"toUInt64({level} * {_SCORE} + {_SCORE - 1} - a)"
    return (
        f"arrayMap((a, n, {', '.join(arguments)}) -> if({' AND '.join(conditions)}, {score}, 0),"
        f" ats, numbers, {', '.join(arrays)})"
    )


def _not_void(exclusion: Exclusion, index: int, level: str, ordered: str) -> str:
    end = f"{ordered}[least({exclusion.before}, {level})]" if exclusion.before else f"arrayMax({ordered})"
    return f"NOT ({level} > {exclusion.after} AND bar_{index} > 0 AND bar_{index} < {end})"


def _after(funnel: Funnel) -> str:
    """The times of the best attempt's steps, from its start."""
    steps = range(2, len(funnel.steps) + 1)
    found = [f"arrayFirst((t, a, n) -> n = 1 AND a = start, t{step}_2, ats, numbers)" for step in steps]
    passed = ", ".join(f"{time} - start" for time in found)
    if funnel.order == "any":
        # What is not done within the window lies behind all that is; what is never done becomes huge here.
        return f"arraySlice(arraySort(CAST([{passed}], 'Array(UInt64)')), 1, level - 1)"
    return f"arraySlice(CAST([{passed}], 'Array(UInt64)'), 1, level - 1)"


def _times_of(number: int) -> str:
    """The times of the elements with that number, 0 for the others."""
    return f"arrayMap((a, n) -> if(n = {number}, a, 0), ats, numbers)"


def _carry(values: str, number: int) -> str:
    """At each element, the value at the next element (itself included) with that number; 0 if there is none.

    The last element keeps its own value, which therefore has to be 0 if it has another number.
    """
    return f"arrayReverseFill((v, n) -> n = {number}, {values}, numbers)"


def _select(columns: Sequence[str], source: str) -> str:
    lines = ",\n    ".join(columns)
    return f"SELECT {lines}\nFROM (\n{indent(source)}\n)"


def _at(element_: str) -> str:
    return f"intDiv({element_}, {WIDTH})"


def _number(element_: str) -> str:
    return f"({WIDTH - 1} - {element_} % {WIDTH})"
