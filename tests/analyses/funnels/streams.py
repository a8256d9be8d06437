"""Small streams of events in which everything happens at nearly the same time, made by hypothesis."""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hypothesis import strategies as st

from analytics_server.model import COLUMN_NAMES, COLUMNS
from analytics_server.store import Store
from tests.query.world import micros, moment

SECOND = 1_000_000
BASE = micros(datetime(2025, 10, 26, 0, 0, tzinfo=UTC))
"""Berlin's clocks go back an hour later."""

NAMES = ("pageview", "click", "scroll", "Anmeldung ✓", 'it\'s\\a "step"', "")
PATHS = ("/", "/preise", "")
PLANS = ("pro", "", "größer")
SOURCES = ("Google", "Direct", "näher.de")
DAY_US = 86_400 * SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One event; times in microseconds since 1970."""

    at: int
    name: str
    path: str
    plan: str
    source: str
    session: int
    opened_at: int
    user_id: str

    @property
    def session_id(self) -> str:
        return f"sé{self.session % 3}"  # the same id may come back, opened at another time

    @property
    def is_passive(self) -> bool:
        return self.name == "scroll"

    @property
    def visitor_id(self) -> int:
        """Lives one UTC day, or as long as a session that lasts over midnight; one session in four is not kept."""
        person = self.session % 4
        day = self.at // DAY_US
        if self.session == 1 and self.opened_at // DAY_US == day - 1:
            day -= 1
        return person and person * 1_000 + day

    def row(self, site_id: str) -> tuple[object, ...]:
        known: dict[str, object] = {
            "site_id": site_id,
            "ts": moment(self.at),
            "name": self.name,
            "event_id": uuid.UUID(int=random.getrandbits(128)),
            "session_id": self.session_id,
            "session_start": moment(self.opened_at),
            "visitor_id": self.visitor_id,
            "user_id": self.user_id,
            "path": self.path,
            "passive": int(self.is_passive),
            "props": {"plan": self.plan} if self.plan else {},
            "source": self.source,
        }
        return tuple(known.get(column.name, column.default) for column in COLUMNS)


@st.composite
def streams(draw: st.DrawFn) -> list[Happening]:
    """Up to forty events of a few sessions, with equal times, steps of a second, an hour and a day."""
    count = draw(st.integers(0, 40))
    gaps = st.sampled_from((0, 0, 1, SECOND, SECOND, 10 * SECOND, 3_600 * SECOND, 5 * 3_600 * SECOND, DAY_US))
    opened = [BASE + draw(st.integers(-3, 3)) * 20_000 * SECOND for _ in range(5)]
    sources = [draw(st.sampled_from(SOURCES)) for _ in range(5)]
    users = [draw(st.sampled_from(("", "anna", "bert"))) for _ in range(5)]
    at, found = BASE - draw(st.sampled_from((0, 5, 40))) * 3_600 * SECOND, []
    for _ in range(count):
        at += draw(gaps)
        session = draw(st.integers(0, 4))
        found.append(
            Happening(
                at=at,
                name=draw(st.sampled_from(NAMES)),
                path=draw(st.sampled_from(PATHS)),
                plan=draw(st.sampled_from(PLANS)),
                source=sources[session],
                session=session,
                opened_at=opened[session],
                user_id=users[session],
            )
        )
    return draw(st.permutations(found))


async def insert(
    store: Store, streams_: Mapping[str, Sequence[Happening]], *, batches: int = 2, batch_id: int = 1
) -> None:
    """Insert the streams of some sites in several batches, so that a subject's events lie in several parts."""
    for number in range(batches):
        rows = [event.row(site_id) for site_id, events in streams_.items() for event in events[number::batches]]
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            await store.insert("events", [*COLUMN_NAMES, "batch_id"], [*columns, [batch_id + number] * len(rows)])
