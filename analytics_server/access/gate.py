"""Who may ask: bearer tokens, their roles and the sites they cover.

A token is 256 random bits, shown once; only its SHA-256 is kept (a hash without
salt is enough for a secret that can't be guessed). Roles: `read` answers questions,
`collect` may send trusted events, `admin` may do both and manage.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from analytics_server.errors import Forbidden, StoreError, Unauthorized
from analytics_server.store.protocol import Store
from analytics_server.store.unreadable import NOT_READABLE, UnreadableDocuments

log = logging.getLogger(__name__)

TOKEN_PREFIX = "ast_"
REFRESH_S = 5.0
ID_CHARS = 12
REVOKED_AT = datetime(2200, 1, 1, tzinfo=UTC)
"""When a revoked token's row says it was written: no change made elsewhere at the same moment brings it back."""


class Role(StrEnum):
    READ = "read"
    COLLECT = "collect"
    ADMIN = "admin"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever a token stands for. `sites` empty = all sites."""

    token_id: str
    role: Role
    name: str = ""
    sites: tuple[str, ...] = ()
    created_at_ms: int = 0

    def covers(self, site_id: str) -> bool:
        return not self.sites or site_id in self.sites

    def require_read(self, site_id: str) -> None:
        """Raises `Forbidden` unless this token may read the site."""
        if self.role not in (Role.READ, Role.ADMIN):
            raise Forbidden(f"This token has the role {self.role}; reading needs read or admin.")
        if not self.covers(site_id):
            raise Forbidden(f"This token does not cover the site {site_id!r}.")

    def require_admin(self) -> None:
        """Raises `Forbidden` unless this token is an admin's."""
        if self.role is not Role.ADMIN:
            raise Forbidden(f"This token has the role {self.role}; this call needs admin.")

    def require_admin_of(self, site_id: str) -> None:
        """Raises `Forbidden` unless this token is an admin's and covers the site."""
        self.require_admin()
        if not self.covers(site_id):
            raise Forbidden(f"This token does not cover the site {site_id!r}.")

    @property
    def may_collect(self) -> bool:
        return self.role in (Role.COLLECT, Role.ADMIN)


def new_token() -> str:
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """SHA-256, hex. A header's bytes that are no UTF-8 hash like any other wrong token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class Gate:
    """Tokens in memory, refreshed from ClickHouse so that all servers agree within seconds."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float] = time.time,
        unreadable: UnreadableDocuments | None = None,
    ) -> None:
        self._store = store
        self._unreadable = unreadable or UnreadableDocuments()
        self._clock = clock
        self._by_hash: dict[str, Principal] = {}
        self._fixed: dict[str, Principal] = {}
        self._loaded_at = 0.0
        self._loading = asyncio.Lock()
        self._changing = asyncio.Lock()
        self._changes = 0
        self._task: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Read all tokens; one that can't be read is not accepted. Raises a store error."""
        changes = self._changes
        answer = await self._store.query("SELECT token_hash, document FROM tokens FINAL WHERE deleted = 0")
        found, unreadable = {}, []
        for digest, document in answer.rows:
            try:
                found[str(digest)] = msgspec.json.decode(str(document), type=Principal)
            except NOT_READABLE as error:
                token_id = str(digest)[:ID_CHARS]
                unreadable.append(token_id)
                self._unreadable.note("token", token_id, type(error).__name__)
        self._unreadable.keep_only("token", unreadable)
        if changes == self._changes:  # else the answer may be older than what was made or revoked here meanwhile
            self._by_hash = found
            self._loaded_at = time.monotonic()

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
        await self._write(digest, principal)
        self._changes += 1
        self._by_hash[digest] = principal
        return token

    async def revoke(self, token_id: str) -> bool:
        """Delete a token by its id, for good; False when there is none. Raises a store error."""
        async with self._changing:
            found = await self._find(token_id)
            if found is None:
                return False
            digest, principal = found
            await self._write(digest, principal, at=REVOKED_AT)
            self._changes += 1
            self._by_hash.pop(digest, None)
            return True

    async def change(
        self, token_id: str, *, name: str | None = None, sites: tuple[str, ...] | None = None
    ) -> Principal | None:
        """Rename a token or give it other sites, what is None stays; None when there is no such token.

        Raises a store error.
        """
        async with self._changing:
            found = await self._find(token_id)
            if found is None:
                return None
            digest, principal = found
            changed = msgspec.structs.replace(
                principal,
                name=principal.name if name is None else name,
                sites=principal.sites if sites is None else sites,
            )
            await self._write(digest, changed)
            self._changes += 1
            self._by_hash[digest] = changed
            return changed

    async def find(self, token_id: str) -> Principal | None:
        """The token of that id. Raises a store error."""
        found = await self._find(token_id)
        return found and found[1]

    async def _find(self, token_id: str) -> tuple[str, Principal] | None:
        """Hash and principal of an id, as ClickHouse knows them now: another server may have changed them."""
        await self.load()
        return next((item for item in self._by_hash.items() if item[1].token_id == token_id), None)

    def tokens(self) -> list[Principal]:
        return sorted(self._by_hash.values(), key=lambda principal: principal.created_at_ms)

    def known(self, authorization: str | None) -> Principal | None:
        """The principal of an Authorization header as far as memory knows; never asks the store."""
        token = _bearer(authorization)
        if not token:
            return None
        digest = token_hash(token)
        return self._fixed.get(digest) or self._by_hash.get(digest)

    def keep_fresh(self) -> None:
        """Read the tokens again in the background when it is time: for callers who must not wait for ClickHouse."""
        if time.monotonic() - self._loaded_at >= REFRESH_S and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._refresh(), name="tokens")

    async def authenticate(self, authorization: str | None) -> Principal:
        """The principal of an Authorization header (`Bearer TOKEN`). Raises `Unauthorized`."""
        if not _bearer(authorization):
            raise Unauthorized("Send a token: Authorization: Bearer TOKEN.")
        await self._refresh()
        principal = self.known(authorization)
        if principal is None:
            raise Unauthorized("The token is not known: it was mistyped or revoked.")
        return principal

    async def _refresh(self) -> None:
        if time.monotonic() - self._loaded_at < REFRESH_S or self._loading.locked():
            return
        async with self._loading:
            try:
                await self.load()
            except StoreError as error:
                self._loaded_at = time.monotonic()  # answer from memory while ClickHouse is away
                log.debug("tokens not refreshed", extra={"reason": type(error).__name__})

    async def _write(self, digest: str, principal: Principal, *, at: datetime | None = None) -> None:
        """A version of the token. `at`: REVOKED_AT for its last one."""
        document = msgspec.json.encode(principal).decode()
        await self._store.insert(
            "tokens",
            ("token_hash", "document", "deleted", "updated_at"),
            [[digest], [document], [int(at is not None)], [at or datetime.fromtimestamp(self._clock(), UTC)]],
        )


def _bearer(authorization: str | None) -> str:
    if not authorization:
        return ""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
