"""Authentication by bearer tokens: which tokens there are, and whose principal a request is.

Owns the tokens' cache. Look-ups are in memory; while ClickHouse is away, what is known goes on working. A change that
another server has made is known after `refresh_s` at the latest: the next request asks for it. `tokens.py` says how a
token is stored, `actions.py` decides who may do what.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET, UnsetType

from analytics_server.access.principals import Principal, Role
from analytics_server.access.tokens import ID_CHARS, HeldToken, Token, new_hash, new_token, token_hash
from analytics_server.access.uses import CredentialUses
from analytics_server.errors import Unauthorized
from analytics_server.store.documents import Documents, DocumentTable, Key
from analytics_server.store.protocol import Store
from analytics_server.store.unreadable import UnreadableDocuments

REFRESH_S = 0.5
"""A token that another server has revoked ends within a second: this, and the time that ClickHouse takes to answer."""
PATIENCE_S = 0.5
"""How long beacons with a token wait for ClickHouse where what is known is old."""
MOST_TOKENS = 10_000
OWN_REFRESH_S = 5.0
"""Where ClickHouse runs in this process no other one can change tokens."""

TOKENS = DocumentTable(name="tokens", key_columns=("token_hash",))


class Gate:
    """Tokens in memory, refreshed from ClickHouse so that all servers agree within a second."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float] = time.time,
        unreadable: UnreadableDocuments | None = None,
        refresh_s: float = REFRESH_S,
    ) -> None:
        self._clock = clock
        self._refresh_s = refresh_s
        self._documents = Documents(
            store,
            TOKENS,
            decode=HeldToken.decode,
            encode=HeldToken.encode,
            label=lambda key: ("token", key[0][:ID_CHARS]),
            clock=clock,
            unreadable=unreadable,
        )
        self._fixed: dict[str, HeldToken] = {}
        self.uses = CredentialUses(store, clock=clock)

    def now(self) -> datetime:
        """The clock by which tokens expire."""
        return datetime.fromtimestamp(self._clock(), UTC)

    async def load(self) -> None:
        """Read all tokens; one that can't be read is not accepted. Raises a store error."""
        await self._documents.load()

    def accept(self, token: str, role: Role, name: str) -> None:
        """Let a token in that lives only in this process (`ANALYTICS_ADMIN_TOKEN`)."""
        digest = token_hash(token)
        self._fixed = {digest: HeldToken.of(Token(token_id=digest[:ID_CHARS], role=role, name=name))}

    async def create(
        self,
        role: Role | None = None,
        *,
        scopes: tuple[str, ...] = (),
        name: str = "",
        sites: tuple[str, ...] = (),
        expires_at: datetime | None = None,
        threshold: int = 0,
    ) -> str:
        """Make a token of a role or of scopes and return it: the only time it can be seen. Raises a store error."""
        secret = new_token()
        while self._documents.get((token_hash(secret)[:ID_CHARS],)) is not None:
            secret = new_token()
        key, hash_ = new_hash(secret)
        token = Token(
            token_id=token_hash(secret)[:ID_CHARS],
            role=None if threshold else role,
            scopes=() if role is not None or threshold else scopes,
            name=name,
            sites=sites,
            created_at_ms=int(self._clock() * 1000),
            expires_at=expires_at,
            hash_key=key,
            hash=hash_,
            threshold=threshold,
            threshold_scopes=(scopes or (role.value,) if role else scopes) if threshold else (),
        )
        await self._documents.put((token.token_id,), HeldToken.of(token))
        return secret

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
        self,
        token_id: str,
        *,
        name: str | None = None,
        sites: tuple[str, ...] | None = None,
        expires_at: datetime | UnsetType | None = UNSET,
    ) -> Token | None:
        """Give a token another name, other sites or another end; None when there is no such token.

        What is None, or for the end `UNSET`, stays. Raises a store error.
        """
        async with self._documents.changing:
            found = await self._find(token_id)
            if found is None:
                return None
            key, token = found
            changed = msgspec.structs.replace(
                token,
                name=token.name if name is None else name,
                sites=token.sites if sites is None else sites,
                expires_at=token.expires_at if expires_at is UNSET else expires_at,
            )
            await self._documents.put(key, HeldToken.of(changed))
            return changed

    async def find(self, token_id: str) -> Token | None:
        """The token of that id. Raises a store error."""
        found = await self._find(token_id)
        return found and found[1]

    async def holder(self, token_id: str) -> Principal | None:
        """The principal of a token's id, if the token has not ended. Raises a store error."""
        own = (each.token for each in self._fixed.values() if each.token.token_id == token_id)
        token = next(own, None) or await self.find(token_id)
        return None if token is None or self._is_over(token.principal()) else token.principal()

    async def _find(self, token_id: str) -> tuple[Key, Token] | None:
        """Key and token of an id, as ClickHouse knows them now: another server may have changed them."""
        await self.load()
        held = ((key, each.token) for key, each in self._documents.items())
        return next((item for item in held if item[1].token_id == token_id), None)

    def tokens(self) -> list[Token]:
        """All stored tokens, the oldest first."""
        return sorted((each.token for _, each in self._documents.items()), key=lambda token: token.created_at_ms)

    @property
    def is_full(self) -> bool:
        """Are there so many tokens that none may be added over HTTP? The command line always may."""
        return len(self._documents.items()) >= MOST_TOKENS

    def has_owner(self) -> bool:
        """Is there a stored token that may do everything, and has not expired?"""
        owners = (each.principal for _, each in self._documents.items() if _owns(each.principal))
        return any(not self._is_over(principal) for principal in owners)

    def known(self, authorization: str | None) -> Principal | None:
        """The principal of an Authorization header as far as memory knows; never asks the store."""
        held = self._held(authorization)
        if held is None or self._is_over(held.principal):
            return None
        if held.token.created_at_ms:  # not one of this process alone
            self.uses.note(held.token.token_id)
        return held.principal

    def _held(self, authorization: str | None) -> HeldToken | None:
        secret = _bearer(authorization)
        if not secret:
            return None
        digest = token_hash(secret)
        found = self._fixed.get(digest) or self._documents.get((digest,))
        if found is None:
            found = self._documents.get((digest[:ID_CHARS],))
            if found is not None and not found.token.is_of(secret):
                return None
        return found

    def _is_over(self, principal: Principal) -> bool:
        return 0 < principal.expires_at_ms <= self._clock() * 1000

    def keep_fresh(self) -> bool:
        """Read the tokens again in the background when it is time: for callers who must not wait for ClickHouse.

        False where they were read so long ago, as on a server that had nothing to do, that one has to wait for it with
        `freshen`: a token may be revoked long since.
        """
        self._documents.refresh_soon(self._refresh_s)
        return not self._documents.is_older(2 * self._refresh_s)

    async def freshen(self) -> None:
        """Wait until the tokens are read again, but not for a ClickHouse that does not answer."""
        await self._documents.refresh_within(self._refresh_s, PATIENCE_S)

    async def authenticate(self, authorization: str | None) -> Principal:
        """The principal of an Authorization header (`Bearer TOKEN`). Raises `Unauthorized`."""
        if not _bearer(authorization):
            raise Unauthorized("Send a token: Authorization: Bearer TOKEN.")
        await self._documents.refresh(self._refresh_s)
        principal = self.known(authorization)
        if principal is not None:
            return principal
        held = self._held(authorization)
        if held is not None:
            end = datetime.fromtimestamp(held.principal.expires_at_ms / 1000, UTC)
            raise Unauthorized(f"The token expired at {end:%Y-%m-%dT%H:%M:%SZ}: make another, or move its end.")
        raise Unauthorized("The token is not known: it was mistyped or revoked.")


def _owns(principal: Principal) -> bool:
    return any(grant.role is Role.OWNER for grant in principal.grants)


def _bearer(authorization: str | None) -> str:
    if not authorization:
        return ""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
