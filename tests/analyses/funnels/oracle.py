"""The right answer, by the definitions in docs/funnels.md: every attempt of every subject is looked at, in plain loops.

Shares no code with the funnels: what a step means, windows and medians are worked out here again.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.analyses.funnels.streams import Happening

Test = Callable[[Happening], bool]


@dataclass(frozen=True, slots=True)
class Bar:
    """An exclusion: events that void an attempt between two of its steps; before 0: the deepest reached."""

    test: Test
    after: int = 1
    before: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A funnel for the oracle. Times in microseconds."""

    steps: Sequence[Test]
    window: int
    order: str
    by: str
    bars: Sequence[Bar] = ()
    keep: Test = field(default=lambda event: True)


@dataclass(frozen=True, slots=True)
class Attempt:
    """The times of the steps that were reached, and the value at step 1."""

    times: list[int]
    event: Happening

    @property
    def level(self) -> int:
        return len(self.times)


def best_attempts(plan: Plan, events: Sequence[Happening], start: int, end: int) -> dict[object, Attempt]:
    """Of each subject that enters, the deepest attempt; among equals the one that begins first."""
    subjects: dict[object, list[Happening]] = defaultdict(list)
    for event in events:
        subject = _subject(plan.by, event)
        if subject and plan.keep(event):
            subjects[subject].append(event)
    found = {}
    for subject, own in subjects.items():
        entries = [event for event in own if start <= event.at < end and plan.steps[0](event)]
        attempts = [attempt for event in entries if (attempt := _attempt(plan, own, event)) is not None]
        if attempts:
            found[subject] = min(attempts, key=lambda attempt: (-attempt.level, attempt.times[0]))
    return found


def steps_of(plan: Plan, attempts: Sequence[Attempt]) -> list[tuple[int, float | None, float | None]]:
    """Per step: how many, and the two medians in seconds."""
    found: list[tuple[int, float | None, float | None]] = []
    for step in range(1, len(plan.steps) + 1):
        reached = [attempt.times for attempt in attempts if attempt.level >= step]
        medians: tuple[float | None, float | None] = (None, None)
        if reached and step > 1:
            since = statistics.median(times[step - 1] - times[0] for times in reached)
            gone = statistics.median(times[step - 1] - times[step - 2] for times in reached)
            medians = (round(since / 1_000_000, 3), round(gone / 1_000_000, 3))
        found.append((len(reached), *medians))
    return found


def value_at_entry(plan: Plan, attempt: Attempt, events: Sequence[Happening], value: Callable[[Happening], str]) -> str:
    """The smallest value of the subject's first steps at the instant the attempt begins."""
    subject = _subject(plan.by, attempt.event)
    return min(
        value(event)
        for event in events
        if event.at == attempt.times[0]
        and _subject(plan.by, event) == subject
        and plan.steps[0](event)
        and plan.keep(event)
    )


def _subject(by: str, event: Happening) -> object:
    if by == "session":
        return (event.opened_at, event.session_id)
    return event.visitor_id if by == "visitor" else event.user_id


def _attempt(plan: Plan, own: Sequence[Happening], entry: Happening) -> Attempt | None:
    """The attempt that begins with an event, or None if it is void."""
    last = entry.at + plan.window
    times = [entry.at]
    if plan.order == "any":
        for test in plan.steps[1:]:
            done = [event.at for event in own if entry.at < event.at <= last and test(event)]
            times += [min(done)] if done else []
        times.sort()
    else:
        for test in plan.steps[1:]:
            later = [event for event in own if event.at > times[-1]]
            if plan.order == "strict":
                steps = [event for event in later if any(step(event) for step in plan.steps)]
                later = [event for event in steps if event.at == min(one.at for one in steps)]
            done = [event.at for event in later if test(event) and event.at <= last]
            if not done:
                break
            times.append(min(done))
    for bar in plan.bars:
        if len(times) > bar.after:
            since, until = times[bar.after - 1], times[min(bar.before or len(times), len(times)) - 1]
            if any(since < event.at < until and bar.test(event) for event in own):
                return None
    return Attempt(times, entry)
