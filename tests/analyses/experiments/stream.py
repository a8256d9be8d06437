"""Small streams of events around one experiment, with everything that makes counting hard.

Few users, sessions and instants, so that all of them meet: equal times, the window's edges, the change of the
clock, sessions over midnight and a month's end, users that are known late, two users in one session, late events.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import strategies as st

from analytics_server.model import COLUMN_NAMES, COLUMNS
from analytics_server.store import Store
from tests.query.world import micros, moment

KEY = "Größe ✓"
ZONE = "Europe/Berlin"
START = datetime(2025, 10, 25, 22, tzinfo=UTC)
"""Midnight in Berlin before the day on which summer time ends."""
HOUR = 3_600_000_000
WINDOW_S = 7_200

USERS = ("", "", "", "u1", "u2", "Ü'\\")
COUNTRIES = ("", "DE", "SE")
PATHS = ("/", "/preise/für-alle", "")
NAMES = ("exposure", "exposure", "exposure", "buy", "buy", "pageview", "scroll", "Anmeldung ✓")
VARIANTS = ("a", "a", "b", "b", "ç", "unknown")
CURRENCIES = ("", "EUR", "SEK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One event; times in microseconds since 1970, revenue in 1/10,000."""

    at: int
    name: str
    session: str
    opened: int
    user: str = ""
    experiment: str = ""
    variant: str = ""
    path: str = "/"
    country: str = ""
    amount: int = 0
    currency: str = ""

    @property
    def is_passive(self) -> bool:
        return self.name == "scroll"

    def row(self, site_id: str, random_: random.Random) -> list[object]:
        """The values of `model.COLUMNS`, as ingest would insert them."""
        known: dict[str, object] = {
            "site_id": site_id,
            "ts": moment(self.at),
            "name": self.name,
            "event_id": uuid.UUID(int=random_.getrandbits(128)),
            "session_id": self.session,
            "session_start": moment(self.opened),
            "visitor_id": 1,
            "user_id": self.user,
            "path": self.path,
            "passive": int(self.is_passive),
            "country": self.country,
            "experiment": self.experiment,
            "variant": self.variant,
            "revenue_amount": Decimal(self.amount) / 10_000,
            "revenue_currency": self.currency,
            "props": {},
        }
        return [known.get(column.name, column.default) for column in COLUMNS]


def happenings() -> st.SearchStrategy[list[Happening]]:
    """Up to sixty events of six sessions."""
    return st.lists(_one(), min_size=1, max_size=60)


@st.composite
def _one(draw: st.DrawFn) -> Happening:
    number = draw(st.integers(0, 5))
    begin = micros(START)
    # Session 5 is opened before the range, session 4 over midnight at the month's end.
    opened = begin + {5: -HOUR, 4: 6 * 24 * HOUR - HOUR // 2}.get(number, number * HOUR)
    hours = draw(st.sampled_from((-2, 0, 0, 1, 1, 2, 3, 24, 25, 6 * 24, 9 * 24)))
    # Late events lie up to a day before their session was opened: the documented limit.
    at = max(begin + hours * HOUR, opened - 20 * HOUR) + draw(st.sampled_from((0, 0, 1, -1, 1_000_000)))
    name = draw(st.sampled_from(NAMES))
    exposed = name == "exposure"
    paid = name == "buy" and draw(st.booleans())
    return Happening(
        at=at,
        name=name,
        session=f"s{number % 5}",
        opened=opened,
        user=draw(st.sampled_from(USERS)),
        experiment=draw(st.sampled_from((KEY, KEY, KEY, "other"))) if exposed else "",
        variant=draw(st.sampled_from(VARIANTS)) if exposed else "",
        path=draw(st.sampled_from(PATHS)),
        country=COUNTRIES[number % 3],
        amount=draw(st.sampled_from((0, 1, 125_000, 99_999_999, -125_000, 10**16))) if paid else 0,
        currency=draw(st.sampled_from(CURRENCIES)) if paid else "",
    )


async def insert(store: Store, site_id: str, events: Sequence[Happening], *, other: str = "") -> None:
    """Insert in two batches, so that sessions lie in several parts; half of the events on another site as well."""
    random_ = random.Random(1)
    for number in range(2):
        rows = [event.row(site_id, random_) for event in events[number::2]]
        rows += [event.row(other, random_) for event in events[number::2]] if other and number else []
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            await store.insert("events", [*COLUMN_NAMES, "batch_id"], [*columns, [number] * len(rows)])
