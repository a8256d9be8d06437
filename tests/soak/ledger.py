"""What the soak sent and what it was answered: what the stored events are compared with.

Every event carries a mark of its own in its URL's path, so that events without an
`event_id` can be told apart too. An event with an id may be sent again under the same mark.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

REPEATABLE = 20_000
"""So many of the latest events with an id may be sent again: fewer than the server promises to remember."""
MOST_AGAIN = 5_000
MOST_ODD = 20


@dataclass(slots=True, eq=False)
class Event:
    """One event as it is sent; `event_id` is "" for one that must not be sent twice."""

    mark: str
    event_id: str
    body: dict[str, Any]


@dataclass(slots=True)
class Ledger:
    """What was sent, answered and acknowledged in one stage."""

    sends: Counter[str] = field(default_factory=Counter)
    acknowledged: set[str] = field(default_factory=set)
    unwanted: set[str] = field(default_factory=set)
    """Sent so that they must not be kept: drops and rejects."""
    repeats_sent: int = 0
    """Sends of an event that had been sent before."""
    requests: int = 0
    bad_requests: int = 0
    unanswered: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)
    """Answers that are not what they should be."""
    recent: deque[Event] = field(default_factory=lambda: deque(maxlen=REPEATABLE))
    again: deque[Event] = field(default_factory=lambda: deque(maxlen=MOST_AGAIN))
    """Events with an id that were not acknowledged: a client sends them again."""

    def send(self, event: Event) -> None:
        """An event leaves, perhaps not for the first time."""
        if self.sends[event.mark]:
            self.repeats_sent += 1
        elif event.event_id:
            self.recent.append(event)
        self.sends[event.mark] += 1

    def accept(self, event: Event) -> None:
        """The server answered 2xx for it."""
        self.acknowledged.add(event.mark)

    def fail(self, event: Event) -> None:
        """No 2xx: sent again later, if it may be."""
        if event.event_id:
            self.again.append(event)

    def repeats(self, rng: random.Random, most: int) -> list[Event]:
        """Some events to send again: first those that were not acknowledged, then any."""
        chosen = [self.again.popleft() for _ in range(min(most, len(self.again)))]
        while self.recent and len(chosen) < most:
            chosen.append(self.recent[rng.randrange(len(self.recent))])
        return chosen

    def wonder(self, what: str) -> None:
        """Note an answer that breaks the contract."""
        if len(self.odd) < MOST_ODD:
            self.odd.append(what[:300])
