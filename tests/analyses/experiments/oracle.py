"""The right counts of an experiment, the slow way: plain loops over plain events, after docs/experiments.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.analyses.experiments.stream import Happening

Subject = tuple[object, ...]
Test = Callable[[Happening], bool]


@dataclass(slots=True)
class Counted:
    """Of one variant: subjects, and per goal who converted and what each subject spent by currency."""

    exposures: int = 0
    conversions: list[int] = field(default_factory=list)
    spent: list[dict[str, list[int]]] = field(default_factory=list)


@dataclass(slots=True)
class Truth:
    """All that is counted."""

    variants: dict[str, Counted]
    values: dict[str, dict[str, Counted]]
    several: int = 0
    unknown: int = 0
    maturing: int = 0


class Oracle:
    """Looks at every event of one site."""

    def __init__(self, events: Sequence[Happening]) -> None:
        self.events = events
        self.sessions: dict[tuple[int, str], list[Happening]] = defaultdict(list)
        for event in events:
            self.sessions[event.opened, event.session].append(event)

    def subject(self, event: Happening) -> Subject:
        """The event's user, else its session's, else the session."""
        users = [other.user for other in self.sessions[event.opened, event.session]]
        user = event.user or max(users, key=lambda name: name.encode())
        return ("user", user) if user else ("session", event.opened, event.session)

    def entry_page(self, event: Happening) -> str:
        """Path of the session's first page view."""
        views = [(e.at, e.path.encode()) for e in self.sessions[event.opened, event.session] if e.name == "pageview"]
        return min(views)[1].decode() if views else ""

    def count(
        self,
        key: str,
        variants: Sequence[str],
        goals: Sequence[Test],
        *,
        start: int,
        end: int,
        window: int,
        now: int,
        counts: Test = lambda event: True,
        value: Callable[[Happening], str] = lambda event: "",
    ) -> Truth:
        """Everything in microseconds."""
        exposures: dict[Subject, list[Happening]] = defaultdict(list)
        for event in self.events:
            if event.name == "exposure" and event.experiment == key and start <= event.at < end and counts(event):
                exposures[self.subject(event)].append(event)

        def empty() -> Counted:
            return Counted(0, [0] * len(goals), [defaultdict(list) for _ in goals])

        truth = Truth({name: empty() for name in variants}, {})
        for subject, found in exposures.items():
            shown = {event.variant for event in found}
            if len(shown) > 1:
                truth.several += 1
                continue
            variant = shown.pop()
            if variant not in variants:
                truth.unknown += 1
                continue
            at, text = min((event.at, value(event).encode()) for event in found)
            truth.maturing += at + window > now
            groups = (
                truth.variants[variant],
                truth.values.setdefault(text.decode(), {name: empty() for name in variants})[variant],
            )
            own = [event for event in self.events if self.subject(event) == subject and at < event.at <= at + window]
            for group in groups:
                group.exposures += 1
                for place, reaches in enumerate(goals):
                    reached = [event for event in own if reaches(event)]
                    group.conversions[place] += bool(reached)
                    sums: dict[str, int] = defaultdict(int)
                    for event in reached:
                        if event.amount:
                            sums[event.currency] += event.amount
                    for currency, units in sums.items():
                        group.spent[place][currency].append(units)
        return truth
