"""The event pipeline: an ordered list of named steps, from a decoded beacon to an anonymised row.

Each step passes the event on, drops it (a `DropReason`: accepted, counted, not kept) or rejects it (the client is
told). A fault in a side field is mended, or the field left out, with a warning. The steps of the request read only
its headers and the events' times, and run once per request; those of the event run for each. What a session's first
event brought is worked out only when a session begins; later events reuse it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from analytics_server.collect.formats.beacon import Beacon, Rejection
from analytics_server.collect.formats.names import NO_NAMES, FieldNames
from analytics_server.collect.steps import admission, exclusion, page, profile, request, visitor
from analytics_server.collect.steps.parts import (
    EventFunction,
    EventStep,
    Parts,
    RequestFunction,
    RequestStep,
    StepCount,
)
from analytics_server.collect.steps.run import EventContext, Origin, Outcome, Run
from analytics_server.collect.steps.verdict import Drop, Reject
from analytics_server.config import CollectSection, LimitsSection

Note = Callable[[str, str, int, str, str, str], None]
"""Site as it was sent, reason, number of events, what there is to say beyond the reason, the kind of bot or "", and
what the events were about (`steps/examples.py`) or ""."""


def note_nothing(site: str, reason: str, events: int, message: str, kind: str, example: str) -> None:
    """A `Note` for a pipeline whose results are reported nowhere."""


REQUEST_STEPS = (
    RequestStep("privacy_signal", request.make_privacy_signal),
    RequestStep("bot", request.make_bot),
    RequestStep("time", request.make_time),
)
EVENT_STEPS = (
    EventStep("check", admission.make_check),
    EventStep("site", admission.make_site),
    EventStep("rate_limit", admission.make_rate_limit),
    EventStep("opt_out", admission.make_opt_out),
    EventStep("sender", admission.make_sender, trusted_only=True),
    EventStep("profile", profile.make_profile),
    EventStep("page", page.make_page),
    EventStep("details", page.make_details),
    EventStep("exclusion", exclusion.make_exclusion),
    EventStep("duplicate", visitor.make_duplicate),
    EventStep("visitor", visitor.make_visitor),
    EventStep("session", visitor.make_session),
    EventStep("row", visitor.make_row),
)


class Pipeline:
    """Turns decoded events into rows. `clock` gives seconds since 1970."""

    def __init__(
        self,
        parts: Parts,
        settings: CollectSection,
        limits: LimitsSection,
        clock: Callable[[], float],
        note: Note = note_nothing,
    ) -> None:
        """`note` hears of each event that is dropped or rejected."""
        self._clock = clock
        self._note = note
        self._most_warnings = limits.warnings
        requests = {step.name: step.make(parts, settings, limits) for step in REQUEST_STEPS}
        made = [(step, function) for step in EVENT_STEPS if (function := step.make(parts, settings, limits))]
        self._request_steps = tuple(requests.values())
        self._trusted_steps = tuple(function for _, function in made)
        self._public_steps = tuple(function for step, function in made if not step.trusted_only)
        self._names: dict[object, str] = {function: name for name, function in requests.items()}
        self._names |= {function: step.name for step, function in made}
        self._bots: dict[str, int] = {}
        self._counts = {step.name: StepCount() for step in (*REQUEST_STEPS, *EVENT_STEPS)}

    @property
    def counts(self) -> Mapping[str, StepCount]:
        """By the steps' names, in their order."""
        return self._counts

    @property
    def bots(self) -> Mapping[str, int]:
        """Events dropped as a bot's, by its kind."""
        return self._bots

    def event_steps(self, *, trusted: bool) -> list[tuple[str, EventFunction]]:
        """The steps of an event with their names, to be measured one by one."""
        return [(self._names[step], step) for step in (self._trusted_steps if trusted else self._public_steps)]

    def run(self, beacons: list[tuple[int, Beacon]], origin: Origin) -> Outcome:
        """All events of one request; order of the rows is order of time."""
        run = self.begin(beacons, origin)
        self.go_on(run, len(run.events))
        return run.outcome

    def begin(self, beacons: list[tuple[int, Beacon]], origin: Origin, names: list[FieldNames] | None = None) -> Run:
        """The steps of the request; then `go_on` with its events, if any are left. `names`: as of `Warnings`."""
        run = Run(beacons, origin, int(self._clock() * 1000), self._most_warnings)
        run.outcome.names = names
        for step in self._request_steps:
            if (verdict := step(run)) is not None:
                self._drop_all(run, step, verdict)
                break
        return run

    def go_on(self, run: Run, most: int) -> None:
        """Take the next events, at most so many, through all steps.

        Of several, a step takes all before the next step begins, which is a fifth faster than one event after the
        other. They are done as a whole: between two calls other requests may be taken.
        """
        start, run.at = run.at, run.at + most
        events = run.events[start : run.at]
        steps = self._trusted_steps if run.trusted else self._public_steps
        if len(events) == 1:
            event = events[0]
            for step in steps:
                if (verdict := step(event, run)) is not None:
                    self._stop(event, run, step, verdict)
                    return
            return
        for step in steps:
            stopped: set[EventContext] = set()
            for event in events:
                if (verdict := step(event, run)) is not None:
                    self._stop(event, run, step, verdict)
                    stopped.add(event)
            if stopped:
                events = [event for event in events if event not in stopped]

    def _stop(self, event: EventContext, run: Run, step: EventFunction, verdict: Drop | Reject) -> None:
        """Count and note an event that goes no further."""
        count, outcome, site = self._counts[self._names[step]], run.outcome, event.beacon.site
        if isinstance(verdict, Drop):
            count.dropped += 1
            outcome.drop(verdict.reason)
            self._note(site, verdict.reason.value, 1, verdict.about, verdict.kind, verdict.example)
            if verdict.kind:
                self._bots[verdict.kind] = self._bots.get(verdict.kind, 0) + 1
        else:
            count.rejected += 1
            code, message = verdict.told(NO_NAMES if outcome.names is None else outcome.names[event.index])
            outcome.rejected.append(Rejection(event.index, code, message))
            self._note(site, code, 1, message, "", verdict.example)

    def _drop_all(self, run: Run, step: RequestFunction, drop: Drop) -> None:
        """For what the request as a whole says."""
        self._counts[self._names[step]].dropped += len(run.beacons)
        run.outcome.drop(drop.reason, len(run.beacons))
        if drop.kind:
            self._bots[drop.kind] = self._bots.get(drop.kind, 0) + len(run.beacons)
        for site, events in Counter(beacon.site for _, beacon in run.beacons).items():
            self._note(site, drop.reason.value, events, drop.about, drop.kind, drop.example)
