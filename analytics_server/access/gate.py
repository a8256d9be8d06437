"""Authentication by bearer tokens, with their roles and the sites they cover.

A token is 256 random bits, shown once; only its SHA-256 is kept (a hash without
salt is enough for a secret that can't be guessed). Roles: `read` answers questions,
`collect` may send trusted events, `admin` may do both and manage; `actions.py` decides who may do what.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache

import msgspec

from analytics_server.errors import Unauthorized
from analytics_server.http.authorization import COLLECTING
from analytics_server.model import stored_site_id
from analytics_server.store.documents import Documents, DocumentTable, Key
from analytics_server.store.protocol import Store
from analytics_server.store.unreadable import UnreadableDocuments

TOKEN_PREFIX = "ast_"
REFRESH_S = 5.0
ID_CHARS = 12


class Role(StrEnum):
    READ = "read"
    COLLECT = "collect"
    ADMIN = "admin"


@lru_cache(1_024)
def spellings_of(sites: tuple[str, ...]) -> frozenset[str]:
    """A token's sites in their one spelling."""
    return frozenset(map(stored_site_id, sites))


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """The holder of a token. `sites` empty: all sites."""

    token_id: str
    role: Role
    name: str = ""
    sites: tuple[str, ...] = ()
    created_at_ms: int = 0

    def covers(self, site_id: str) -> bool:
        """Does it cover the site?"""
        if not self.sites or site_id in self.sites:
            return True
        return stored_site_id(site_id) in spellings_of(self.sites)

    @property
    def may_collect(self) -> bool:
        """May it send trusted events?"""
        return self.role in COLLECTING


def new_token() -> str:
    """A secret that can't be guessed, with the prefix by which scanners find it."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """SHA-256, hex. A header's bytes that are no UTF-8 hash like any other wrong token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


TOKENS = DocumentTable(name="tokens", key_columns=("token_hash",))


class Gate:
    """Tokens in memory, refreshed from ClickHouse so that all servers agree within seconds."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float] = time.time,
        unreadable: UnreadableDocuments | None = None,
    ) -> None:
        self._clock = clock
        self._documents = Documents(
            store,
            TOKENS,
            decode=lambda key, text: msgspec.json.decode(text, type=Principal),
            encode=lambda principal: msgspec.json.encode(principal).decode(),
            label=lambda key: ("token", key[0][:ID_CHARS]),
            clock=clock,
            unreadable=unreadable,
        )
        self._fixed: dict[str, Principal] = {}

    async def load(self) -> None:
        """Read all tokens; one that can't be read is not accepted. Raises a store error."""
        await self._documents.load()

    def accept(self, token: str, role: Role, name: str) -> None:
        """Let a token in that lives only in this process (`ANALYTICS_ADMIN_TOKEN`)."""
        digest = token_hash(token)
        self._fixed = {digest: Principal(token_id=digest[:ID_CHARS], role=role, name=name)}

    async def create(self, role: Role, *, name: str = "", sites: tuple[str, ...] = ()) -> str:
        """Make a token and return it: the only time it can be seen."""
        token = new_token()
        digest = token_hash(token)
        principal = Principal(
            token_id=digest[:ID_CHARS], role=role, name=name, sites=sites, created_at_ms=int(self._clock() * 1000)
        )
        await self._documents.put((digest,), principal)
        return token

    async def revoke(self, token_id: str) -> bool:
        """Delete a token by its id, for good; False when there is none. Raises a store error.

        Also one that can't be read: it is not accepted, and would be named as unreadable until it is deleted.
        """
        async with self._documents.changing:
            found = await self._find(token_id)
            damaged = (key for key in self._documents.unreadable if key[0][:ID_CHARS] == token_id)
            key = found[0] if found else next(damaged, None)
            if key is None:
                return False
            await self._documents.delete(key)
            return True

    async def change(
        self, token_id: str, *, name: str | None = None, sites: tuple[str, ...] | None = None
    ) -> Principal | None:
        """Rename a token or give it other sites, what is None stays; None when there is no such token.

        Raises a store error.
        """
        async with self._documents.changing:
            found = await self._find(token_id)
            if found is None:
                return None
            key, principal = found
            changed = msgspec.structs.replace(
                principal,
                name=principal.name if name is None else name,
                sites=principal.sites if sites is None else sites,
            )
            await self._documents.put(key, changed)
            return changed

    async def find(self, token_id: str) -> Principal | None:
        """The token of that id. Raises a store error."""
        found = await self._find(token_id)
        return found and found[1]

    async def _find(self, token_id: str) -> tuple[Key, Principal] | None:
        """Key and principal of an id, as ClickHouse knows them now: another server may have changed them."""
        await self.load()
        return next((item for item in self._documents.items() if item[1].token_id == token_id), None)

    def tokens(self) -> list[Principal]:
        """All stored tokens, the oldest first."""
        return sorted((each for _, each in self._documents.items()), key=lambda principal: principal.created_at_ms)

    def known(self, authorization: str | None) -> Principal | None:
        """The principal of an Authorization header as far as memory knows; never asks the store."""
        token = _bearer(authorization)
        if not token:
            return None
        digest = token_hash(token)
        return self._fixed.get(digest) or self._documents.get((digest,))

    def keep_fresh(self) -> None:
        """Read the tokens again in the background when it is time: for callers who must not wait for ClickHouse."""
        self._documents.refresh_soon(REFRESH_S)

    async def authenticate(self, authorization: str | None) -> Principal:
        """The principal of an Authorization header (`Bearer TOKEN`). Raises `Unauthorized`."""
        if not _bearer(authorization):
            raise Unauthorized("Send a token: Authorization: Bearer TOKEN.")
        await self._documents.refresh(REFRESH_S)
        principal = self.known(authorization)
        if principal is None:
            raise Unauthorized("The token is not known: it was mistyped or revoked.")
        return principal


def _bearer(authorization: str | None) -> str:
    if not authorization:
        return ""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
