"""Which session each event of one stream belongs to, by the definitions: a slow and plain second implementation.

A stream has one site and events in the order of their arrival, whose times only go on. Nothing here is taken from
the program: every event looks at all that came before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DAY_S = 86_400
PASSIVE = ("engagement", "scroll", "web_vital")


@dataclass(slots=True, kw_only=True)
class Sent:
    """One event; `person` stands for address and user agent, `session_id` is the client's own or ""."""

    at: int
    person: int
    name: str
    session_id: str = ""
    campaign: str = ""


@dataclass(slots=True)
class Kept:
    """A session as it grows."""

    campaign: str
    visitor: tuple[int, int]
    """Person and UTC day of the first event."""
    session_id: str
    alive_at: int
    """The last event that kept it open."""
    events: list[tuple[str, int]] = field(default_factory=list)


def expected(stream: list[Sent], timeout_s: int) -> tuple[list[Kept], int]:
    """The sessions in the order of their first events, and how many events were dropped."""
    sessions: list[Kept] = []
    dropped = 0
    for event in stream:
        passive = event.name in PASSIVE
        if event.session_id:
            found = [one for one in sessions if one.session_id == event.session_id]
        else:
            mine = [one for one in sessions if not one.session_id and one.visitor[0] == event.person]
            found = [one for one in mine if event.at - one.alive_at <= timeout_s]
            if passive and not found:
                found = [one for one in mine if event.at - one.alive_at <= DAY_S]
        if not found and passive:
            dropped += 1
            continue
        if not found:
            found = [Kept(event.campaign, (event.person, event.at // DAY_S), event.session_id, event.at)]
            sessions += found
        session = found[-1]
        if event.session_id or not passive or event.at - session.alive_at <= timeout_s:
            session.alive_at = event.at
        session.events.append((event.name, event.at))
    return sessions, dropped
