"""Sign-in sessions: what a cookie stands for, kept in ClickHouse and in memory.

A session's secret is 256 random bits, stored by a keyed hash. It ends when it was not used for `idle_s`, `absolute_s`
after it began, with a sign-out on any server within a second, when its person is deleted or signs out everywhere, and
as the oldest of the person's when `MOST_SESSIONS` others are there.
Uses are noted every `USE_STEP_S` at most, so the idle end is as exact as that.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import time
from collections.abc import Callable

import msgspec

from analytics_server.access.people.accounts import Account, Accounts
from analytics_server.access.principals import Principal
from analytics_server.access.tokens import keyed_hash, new_hash, token_hash
from analytics_server.access.uses import CredentialUses
from analytics_server.config import AccessSection
from analytics_server.errors import StoreError, Unauthorized
from analytics_server.store.documents import Documents, DocumentTable, Key
from analytics_server.store.protocol import Store
from analytics_server.store.unreadable import UnreadableDocuments

log = logging.getLogger(__name__)

SESSIONS = DocumentTable(name="person_sessions", key_columns=("session_hash",))
SECRET_PREFIX = "ass_"
KEY_CHARS = 24
MOST_SESSIONS = 50
"""Of one person: one more ends the oldest."""
USE_STEP_S = 60
USES_PREFIX = "session:"
_OVER = "You are signed out: the session has ended. Sign in again."


class PersonSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session as it is stored. `ends_at_s`: its absolute end; the table drops it by that."""

    person_id: str
    created_at_ms: int
    ends_at_s: int
    hash_key: str
    hash: str


class SessionUse(msgspec.Struct, frozen=True, kw_only=True):
    """A session as its person sees it. `session_id`: not its secret, nor a way to it. `last_used_at_ms`: to the
    minute. `current`: the one that asks."""

    session_id: str
    created_at_ms: int
    last_used_at_ms: int
    ends_at_ms: int
    current: bool


class PersonSessions:
    """All sessions."""

    def __init__(
        self,
        store: Store,
        people: Accounts,
        settings: AccessSection,
        clock: Callable[[], float] = time.time,
        unreadable: UnreadableDocuments | None = None,
        refresh_s: float = 0.5,
    ) -> None:
        self._people = people
        self._settings = settings
        self._clock = clock
        self._refresh_s = refresh_s
        self._documents = Documents(
            store,
            SESSIONS,
            decode=lambda key, text: msgspec.json.decode(text, type=PersonSession),
            encode=lambda session: msgspec.json.encode(session).decode(),
            label=lambda key: ("session", key[0][:8]),
            clock=clock,
            unreadable=unreadable,
        )
        self.uses = CredentialUses(store, step_s=USE_STEP_S, clock=clock)
        self._used_s: dict[str, float] = {}
        """What other servers have told of uses, by a session's key: asked for only when one seems to be idle."""

    async def load(self) -> None:
        """Read all sessions. Raises a store error."""
        await self._documents.load()

    async def begin(self, person: Account, proved_ms: int) -> tuple[str, int]:
        """A new session's secret, and the seconds until its absolute end. Raises a store error.

        `proved_ms`: when it was begun to look who it is. What ended the person's sessions since ends this one too.
        """
        secret = SECRET_PREFIX + secrets.token_urlsafe(32)
        key, hash_ = new_hash(secret)
        session = PersonSession(
            person_id=person.id,
            created_at_ms=max(proved_ms, person.sessions_from_ms),
            ends_at_s=int(self._clock() + self._settings.session_absolute_s),
            hash_key=key,
            hash=hash_,
        )
        await self._documents.load()
        older = self._of(person.id)
        await self._documents.delete_all(older[: max(0, len(older) + 1 - MOST_SESSIONS)])
        await self._documents.put((_key(secret),), session)
        return secret, int(self._settings.session_absolute_s)

    async def authenticate(self, secret: str) -> Principal:
        """Who has this session. Raises `Unauthorized`."""
        return (await self.person_of(secret)).principal()

    async def person_of(self, secret: str) -> Account:
        """The person of this session. Raises `Unauthorized`."""
        await self._documents.refresh(self._refresh_s)
        await self._people.refresh()
        session = self._documents.get((_key(secret),))
        if session is None or not hmac.compare_digest(keyed_hash(secret, session.hash_key), session.hash):
            raise Unauthorized(_OVER)
        person = self._people.person(session.person_id)
        if person is None or session.created_at_ms < person.sessions_from_ms:
            raise Unauthorized(_OVER)
        if self._clock() >= session.ends_at_s or await self._is_idle(_key(secret), session):
            await self._documents.delete((_key(secret),))
            raise Unauthorized(_OVER)
        self.uses.note(USES_PREFIX + _key(secret))
        return person

    async def _is_idle(self, key: str, session: PersonSession) -> bool:
        limit = self._clock() - self._settings.session_idle_s
        known = max(session.created_at_ms / 1000, self._used_s.get(key, 0.0), self.uses.known_s(USES_PREFIX + key))
        if known > limit:
            return False
        uses = await self.uses.read()
        self._used_s = {
            id_.removeprefix(USES_PREFIX): at.timestamp() for id_, at in uses.items() if id_.startswith(USES_PREFIX)
        }
        return self._used_s.get(key, 0.0) <= limit

    async def of_person(self, person: Account, secret: str = "") -> list[SessionUse]:
        """A person's sessions that have not ended, the latest first; `secret`: of the one that asks.

        Raises a store error.
        """
        await self._documents.load()
        uses = await self.uses.read()
        now_s, found = self._clock(), []
        for key in self._of(person.id):
            session = self._documents.get(key)
            assert session is not None, "its key is listed"
            name = USES_PREFIX + key[0]
            used_s = max(session.created_at_ms / 1000, self.uses.known_s(name))
            if name in uses:
                used_s = max(used_s, uses[name].timestamp())
            if session.created_at_ms < person.sessions_from_ms or now_s >= session.ends_at_s:
                continue
            if used_s <= now_s - self._settings.session_idle_s:
                continue
            found.append(
                SessionUse(
                    session_id=key[0],
                    created_at_ms=session.created_at_ms,
                    last_used_at_ms=int(used_s * 1000),
                    ends_at_ms=session.ends_at_s * 1000,
                    current=key[0] == _key(secret),
                )
            )
        return found[::-1]

    async def end(self, secret: str) -> None:
        """Sign out. Raises a store error."""
        await self._documents.load()
        if self._documents.get((_key(secret),)) is not None:
            await self._documents.delete((_key(secret),))

    async def end_one(self, person_id: str, id_: str) -> bool:
        """End one of a person's sessions; False where they have none of that id. Raises a store error."""
        await self._documents.load()
        session = self._documents.get((id_,))
        if session is None or session.person_id != person_id:
            return False
        await self._documents.delete((id_,))
        return True

    async def end_all(self, person_id: str) -> Account | None:
        """Sign a person out everywhere, on all servers. Raises a store error."""
        person = await self._people.change(person_id, self.ended)
        await self.forget_ended(person_id)
        return person

    def ended(self, person: Account) -> Account:
        """The person with all sessions over, to be stored."""
        now_ms = int(self._clock() * 1000) + 1
        return msgspec.structs.replace(person, sessions_from_ms=max(now_ms, person.sessions_from_ms))

    async def forget_ended(self, person_id: str) -> None:
        """Delete the sessions of a person that are over. Never raises: they are worth nothing where they stay."""
        try:
            await self._people.refresh()
            await self._documents.load()
            person = self._people.person(person_id)
            from_ms = person.sessions_from_ms if person else 0
            keys = self._of(person_id)
            over = [key for key in keys if (each := self._documents.get(key)) and each.created_at_ms < from_ms]
            await self._documents.delete_all(over if person else keys)
        except StoreError as error:
            log.debug("ended sessions not deleted", extra={"reason": type(error).__name__})

    def _of(self, person_id: str) -> list[Key]:
        """The keys of a person's sessions, the oldest first."""
        found = [(each.created_at_ms, key) for key, each in self._documents.items() if each.person_id == person_id]
        return [key for _, key in sorted(found)]


def _key(secret: str) -> str:
    return token_hash(secret)[:KEY_CHARS]
