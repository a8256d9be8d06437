"""The stored token: its hash, its scopes, its sites, its expiry; and the rights of its holder.

A token is `ast_` and 256 random bits, shown once. Stored is HMAC-SHA-256 of it with a random key of the token's own.
The row's key, by which it is found, is the token's id: the first 48 bits of its SHA-256, which tell nothing about the
other 208. The hashes are compared in constant time. Tokens of earlier versions are stored under their whole SHA-256
without a key, and stay so: a secret of 256 random bits can't be found from its hash with or without one, and a token
that moved to another row could be revoked in one and be alive in the other.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from analytics_server.access.principals import Grant, Principal, PrincipalKind, Role
from analytics_server.http.audit import WHOLE_SERVER, SiteDetails
from analytics_server.model import stored_site_id
from analytics_server.store.documents import Key

TOKEN_PREFIX = "ast_"
ID_CHARS = 12
KEY_BYTES = 16

LEAST_THRESHOLD, MOST_THRESHOLD = 2, 1_000
"""Visitors; of share links, too."""

TOKEN_ROLES = (Role.READ, Role.VIEWER, Role.EDITOR, Role.ADMIN, Role.COLLECT)
"""The roles that a token can have. An admin of all sites is an owner."""


class Token(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A token as it is stored. `sites` empty: all sites.

    `scopes`: roles and single actions; one that this version does not know grants nothing. `role`: the only scope, as
    earlier versions stored it; they refuse a token without one, so that they can't give it more than it has.
    `hash_key` and `hash`: hex; empty for one that is stored under its SHA-256.
    `threshold`: rows of fewer visitors are not shown to it; 0 for none. One that has it has its scopes as
    `threshold_scopes`: earlier versions, which would show it all, know none of them and grant it nothing.
    """

    token_id: str
    role: Role | None = None
    scopes: tuple[str, ...] = ()
    name: str = ""
    sites: tuple[str, ...] = ()
    created_at_ms: int = 0
    expires_at: datetime | None = None
    hash_key: str = ""
    hash: str = ""
    threshold: int = 0
    threshold_scopes: tuple[str, ...] = ()

    @property
    def all_scopes(self) -> tuple[str, ...]:
        """Its role or its scopes."""
        return (self.role.value,) if self.role is not None else (*self.scopes, *self.threshold_scopes)

    @property
    def expires_at_ms(self) -> int:
        """Milliseconds since 1970; 0 for never."""
        return 0 if self.expires_at is None else max(1, int(self.expires_at.timestamp() * 1000))

    def principal(self) -> Principal:
        """Its holder."""
        return Principal(
            kind=PrincipalKind.TOKEN,
            id=self.token_id,
            name=self.name,
            grants=grants_of(self.all_scopes, self.sites),
            threshold=self.threshold,
            expires_at_ms=self.expires_at_ms,
        )

    def is_of(self, secret: str) -> bool:
        """Is this the secret? Only for one that is stored by its id; in constant time."""
        return bool(self.hash) and hmac.compare_digest(keyed_hash(secret, self.hash_key), self.hash)


@dataclass(frozen=True, slots=True)
class HeldToken:
    """A token with its principal, made once."""

    token: Token
    principal: Principal

    @classmethod
    def decode(cls, key: Key, text: str) -> HeldToken:
        """Of a stored document."""
        return cls.of(msgspec.json.decode(text, type=Token))

    @classmethod
    def of(cls, token: Token) -> HeldToken:
        """Of a token."""
        return cls(token, token.principal())

    def encode(self) -> str:
        """The document to store."""
        return msgspec.json.encode(self.token).decode()


def grants_of(scopes: Iterable[str], sites: tuple[str, ...]) -> tuple[Grant, ...]:
    """What the scopes grant on the sites: each role, and the single actions together."""
    roles = [scope for scope in scopes if scope in TOKEN_ROLES]
    actions = frozenset(scopes).difference(roles)
    grants = tuple(Grant.of_role(Role(role), sites) for role in roles)
    return (*grants, Grant(actions=actions, sites=sites)) if actions else grants


def new_token() -> str:
    """A secret that can't be guessed, with the prefix by which scanners find it."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def new_hash(secret: str) -> tuple[str, str]:
    """A new key, and the hash of the secret with it."""
    key = secrets.token_hex(KEY_BYTES)
    return key, keyed_hash(secret, key)


def keyed_hash(secret: str, key: str) -> str:
    """HMAC-SHA-256, hex. A header's bytes that are no UTF-8 hash like any other wrong secret."""
    return hmac.new(key.encode(), secret.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def token_hash(token: str) -> str:
    """SHA-256, hex: its beginning is the token's id."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def token_details(token: Token) -> dict[str, str]:
    """What audit entries say of a token's rights, wherever it has them."""
    scopes = token.all_scopes
    is_role = len(scopes) == 1 and scopes[0] in TOKEN_ROLES
    return {
        "role" if is_role else "scopes": " ".join(scopes),
        **({"threshold": str(token.threshold)} if token.threshold else {}),
        **({} if token.expires_at is None else {"expires_at": token.expires_at.isoformat()}),
    }


def covered_details(before: Token | None, after: Token | None) -> SiteDetails:
    """What becomes of the access to each site as a token is made, changed or revoked (None: there is none)."""
    old, new = _places(before), _places(after)

    def change(place: str) -> str:
        had, has = (place in each or WHOLE_SERVER in each for each in (old, new))
        return "kept" if had and has else "given" if has else "taken"

    return {place: {"access": change(place)} for place in sorted(old | new)}


def _places(token: Token | None) -> frozenset[str]:
    if token is None:
        return frozenset()
    return frozenset(map(stored_site_id, token.sites)) or frozenset({WHOLE_SERVER})
