"""Tokens over HTTP: `/api/v1/tokens`. An admin of sites manages the tokens of those sites, an owner all of them.

Constraint: a caller can't make or widen a token with a right that they lack, or that outlives theirs; and a token
that covers a site other than the caller's is as if it were not there.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from analytics_server.access.actions import ACTIONS, MANAGE_TOKENS, excess
from analytics_server.access.gate import MOST_TOKENS, Gate
from analytics_server.access.principals import Grant, Principal, Role, spellings_of
from analytics_server.access.sites.site_settings import MAX_LISTED, SiteId
from analytics_server.access.sites.sites import valid_site_id
from analytics_server.access.tokens import (
    ID_CHARS,
    LEAST_THRESHOLD,
    MOST_THRESHOLD,
    TOKEN_ROLES,
    Token,
    covered_details,
    grants_of,
    token_details,
    token_hash,
)
from analytics_server.errors import Conflict, Forbidden, NotFound, RequestError
from analytics_server.http.declaration import Body, Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint

NAME_CHARS = 120
MOST_MS = 253_402_300_799_000
"""The end of the year 9999."""

SCOPES = (*(role.value for role in TOKEN_ROLES), *(action.name for action in ACTIONS))

READING_SCOPES = (
    Role.READ.value,
    Role.VIEWER.value,
    *(action.name for action in ACTIONS if Role.VIEWER.value in action.roles),
)
"""What a token with a threshold may have."""

TokenRole = Literal["read", "viewer", "editor", "admin", "collect"]
TokenName = Annotated[
    str,
    Meta(max_length=NAME_CHARS, extra_json_schema={"pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$"}),
]
Covered = Annotated[tuple[SiteId, ...], Meta(max_length=MAX_LISTED, description="Empty: all sites, later ones too.")]
Scopes = Annotated[
    tuple[Annotated[str, Meta(max_length=64, extra_json_schema={"enum": list(SCOPES)})], ...],
    Meta(max_length=len(SCOPES), description="Roles and single actions."),
]
Threshold = Annotated[int, Meta(ge=LEAST_THRESHOLD, le=MOST_THRESHOLD)]
Moment = Annotated[datetime, Meta(tz=True)] | Annotated[int, Meta(ge=0, le=MOST_MS)]
"""ISO 8601 with its offset, or milliseconds since 1970."""


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new token. Either a role or scopes. `expires_at`: without it, it lives until it is revoked.

    `threshold`: rows of fewer visitors are not shown to it, and where that can't be kept it is refused. Only for tokens
    that read.
    """

    role: TokenRole | None = None
    scopes: Scopes = ()
    name: TokenName = ""
    sites: Covered = ()
    expires_at: Moment | None = None
    threshold: Threshold | None = None


class TokenChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to change; what is left out stays. Role and scopes can't change. `expires_at` null: never."""

    name: TokenName | None = None
    sites: Covered | None = None
    expires_at: Moment | UnsetType | None = UNSET


class TokenInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A token without its secret. `role`: null for one of several scopes or of single actions.

    `last_used_on`: the day (UTC) of the last use, null if it was never used.
    """

    token_id: str
    role: Role | None
    scopes: tuple[str, ...]
    name: str
    sites: tuple[str, ...]
    created_at_ms: int
    expires_at: datetime | None
    last_used_on: str | None
    threshold: int | None


class TokensAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """All tokens that the caller manages, the oldest first, without their secrets."""

    tokens: list[TokenInfo]


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token that was made. `token` is the secret and is shown this once."""

    token: str
    token_id: str
    role: Role | None
    scopes: tuple[str, ...]
    name: str
    sites: tuple[str, ...]
    expires_at: datetime | None
    threshold: int | None


_TOKEN = Parameter(
    name="token_id",
    about="The token's id, the first twelve characters of its hash.",
    type=Annotated[str, Meta(pattern="^[0-9a-f]{12}$")],
    required=True,
)
_NO_TOKEN = {404: ("unknown_token",)}


class TokenRoutes:
    """Handlers for `/api/v1/tokens`."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def endpoints(self) -> list[Endpoint]:
        """The declarations."""
        return [
            Endpoint(
                method="GET",
                path="/api/v1/tokens",
                name="list_tokens",
                summary="The tokens that the caller manages, without their secrets",
                tag="access",
                about="An admin of single sites sees the tokens that cover no other site.",
                action=MANAGE_TOKENS,
                handle=self.list_tokens,
                replies=(Reply(about="The oldest first.", type=TokensAnswer),),
                asks_store=True,
            ),
            Endpoint(
                method="POST",
                path="/api/v1/tokens",
                name="create_token",
                summary="Make a token",
                tag="access",
                about="A token can't have a right that its maker lacks.",
                action=MANAGE_TOKENS,
                handle=self.create_token,
                body=Body(
                    types=(TokenRequest,),
                    examples={
                        "reader": {"role": "read", "name": "Dashboards", "sites": ["example.com"]},
                        "importer": {
                            "scopes": ["collect", "view_drops"],
                            "sites": ["example.com"],
                            "expires_at": "2099-12-31T00:00:00Z",
                        },
                    },
                ),
                replies=(Reply(status=201, about="The token, shown this once.", type=NewToken),),
                errors={400: ("bad_expiry", "bad_name", "bad_scope", "bad_site", "bad_threshold"), 409: ("too_many",)},
                asks_store=True,
            ),
            Endpoint(
                method="GET",
                path="/api/v1/tokens/{token_id}",
                name="get_token",
                summary="One token, without its secret",
                tag="access",
                action=MANAGE_TOKENS,
                handle=self.show_token,
                parameters=(_TOKEN,),
                replies=(Reply(about="The token.", type=TokenInfo),),
                errors=_NO_TOKEN,
                asks_store=True,
            ),
            Endpoint(
                method="PUT",
                path="/api/v1/tokens/{token_id}",
                name="change_token",
                summary="Rename a token, give it other sites or another end",
                tag="access",
                about="What is left out stays. All servers know within a second.",
                action=MANAGE_TOKENS,
                handle=self.change_token,
                parameters=(_TOKEN,),
                body=Body(types=(TokenChange,), examples={"sites": {"sites": ["example.com"]}}),
                replies=(Reply(about="The token as it is now.", type=TokenInfo),),
                errors={400: ("bad_expiry", "bad_name", "bad_site"), **_NO_TOKEN},
                asks_store=True,
            ),
            Endpoint(
                method="DELETE",
                path="/api/v1/tokens/{token_id}",
                name="revoke_token",
                summary="Revoke a token, for good",
                tag="access",
                about="All servers know within a second.",
                action=MANAGE_TOKENS,
                handle=self.revoke_token,
                parameters=(_TOKEN,),
                replies=(Reply(status=204, about="Revoked."),),
                errors=_NO_TOKEN,
                asks_store=True,
            ),
        ]

    async def list_tokens(self, call: Call[None]) -> TokensAnswer:
        """The tokens within the caller's sites."""
        tokens = [token for token in self._gate.tokens() if _is_within(call, token.sites)]
        uses = await self._gate.uses.read() if tokens else {}
        return TokensAnswer(tokens=[token_info(token, uses.get(token.token_id)) for token in tokens])

    async def show_token(self, call: Call[None]) -> TokenInfo:
        """One token. Raises `NotFound`."""
        return await self._shown(await self._known(call))

    async def create_token(self, call: Call[TokenRequest]) -> NewToken:
        """Make a token. Raises `RequestError`, `Forbidden`, `Conflict`."""
        wanted = call.body
        scopes = scopes_of(wanted.role or "", wanted.scopes)
        name, sites, expires_at = _name(wanted.name), covered_sites(wanted.sites), self._end(wanted.expires_at)
        _may_pass_on(call, grants_of(scopes, sites), expires_at)
        threshold = checked_threshold(wanted.threshold or 0, scopes)
        if self._gate.is_full:
            raise Conflict(f"There are {MOST_TOKENS} tokens already: revoke some.", code="too_many")
        role = role_of(scopes)
        secret = await self._gate.create(
            role, scopes=scopes, name=name, sites=sites, expires_at=expires_at, threshold=threshold
        )
        call.trail.resource = token_id = token_hash(secret)[:ID_CHARS]
        if (made := await self._gate.find(token_id)) is not None:
            _tell(call, None, made)
        return NewToken(
            token=secret,
            token_id=token_id,
            role=role,
            scopes=scopes,
            name=name,
            sites=sites,
            expires_at=expires_at,
            threshold=threshold or None,
        )

    async def change_token(self, call: Call[TokenChange]) -> TokenInfo:
        """Change a token's name, sites or end. Raises `NotFound`, `RequestError`, `Forbidden`."""
        change = call.body
        token = await self._known(call)
        name = None if change.name is None else _name(change.name)
        sites = None if change.sites is None else covered_sites(change.sites)
        expires_at = UNSET if change.expires_at is UNSET else self._end(change.expires_at)
        end = token.expires_at if expires_at is UNSET else expires_at
        if sites is not None or expires_at is not UNSET:
            _may_pass_on(call, grants_of(token.all_scopes, token.sites if sites is None else sites), end)
        changed = await self._gate.change(token.token_id, name=name, sites=sites, expires_at=expires_at)
        if changed is not None:
            _tell(call, token, changed)
        return await self._shown(changed or _unknown())

    async def revoke_token(self, call: Call[None]) -> None:
        """Delete a token, also one that can't be read if the caller covers all sites. Raises `NotFound`."""
        token = await self._gate.find(call.path("token_id")) if _is_within(call, ()) else await self._known(call)
        if not await self._gate.revoke(call.path("token_id")):
            _unknown()
        if token is not None:
            _tell(call, token, None)

    async def _known(self, call: Call[Any]) -> Token:
        """What the address names, within the caller's sites. Raises `NotFound`."""
        token = await self._gate.find(call.path("token_id"))
        return token if token is not None and _is_within(call, token.sites) else _unknown()

    async def _shown(self, token: Token) -> TokenInfo:
        return token_info(token, (await self._gate.uses.read()).get(token.token_id))

    def _end(self, moment: Moment | None) -> datetime | None:
        return moment_of(moment, self._gate.now())


def moment_of(moment: Moment | None, now: datetime) -> datetime | None:
    """When something ends, None for never. Raises `RequestError` (bad_expiry) for a time that has passed."""
    if moment is None:
        return None
    end = datetime.fromtimestamp(moment / 1000, UTC) if isinstance(moment, int) else moment.astimezone(UTC)
    if end <= now:
        raise RequestError("expires_at lies in the past: name a later time, or leave it out.", code="bad_expiry")
    return end


def token_info(token: Token, used_at: datetime | None) -> TokenInfo:
    """The token as it is shown. `used_at`: when it was last used."""
    return TokenInfo(
        token_id=token.token_id,
        role=role_of(token.all_scopes),
        scopes=token.all_scopes,
        name=token.name,
        sites=token.sites,
        created_at_ms=token.created_at_ms,
        expires_at=token.expires_at,
        last_used_on=None if used_at is None else f"{used_at:%Y-%m-%d}",
        threshold=token.threshold or None,
    )


def scopes_of(role: str, scopes: tuple[str, ...]) -> tuple[str, ...]:
    """What a new token's role or its scopes name, each once. Raises `RequestError`."""
    if (not role) == (not scopes):
        raise RequestError("Say what the token may: either role or scopes.", code="bad_scope")
    found = (role,) if role else tuple(dict.fromkeys(scopes))
    for scope in found:
        if scope not in SCOPES:
            raise RequestError(
                f"{scope[:64]!r} is no role or action of a token. There are: {', '.join(SCOPES)}.", code="bad_scope"
            )
    return found


def role_of(scopes: tuple[str, ...]) -> Role | None:
    """The role of a token whose only scope is one."""
    return Role(scopes[0]) if len(scopes) == 1 and scopes[0] in TOKEN_ROLES else None


def checked_threshold(threshold: int, scopes: tuple[str, ...]) -> int:
    """The threshold of a new token, 0 for none. Raises `RequestError` where it would do more than read."""
    for scope in scopes if threshold else ():
        if scope not in READING_SCOPES:
            raise RequestError(
                f"A token with a threshold only reads, and {scope!r} is more than that. It may have:"
                f" {', '.join(READING_SCOPES)}.",
                code="bad_threshold",
            )
    return threshold


def _may_pass_on(call: Call[Any], grants: tuple[Grant, ...], end: datetime | None) -> None:
    until_ms = 0 if end is None else max(1, int(end.timestamp() * 1000))
    if why := excess(_principal(call), grants, until_ms=until_ms):
        raise Forbidden(why)


def _tell(call: Call[Any], before: Token | None, after: Token | None) -> None:
    """Have an audit entry for each site that the token covers or has covered. One of them is there."""
    call.trail.details |= token_details(after or before or _unknown())
    call.trail.tell_sites(covered_details(before, after))


def _is_within(call: Call[Any], sites: tuple[str, ...]) -> bool:
    """Does the caller manage the tokens of all these sites?"""
    own = [grant for grant in _principal(call).grants if grant.allows(MANAGE_TOKENS)]
    if any(not grant.sites for grant in own):
        return True
    return bool(sites) and spellings_of(sites) <= frozenset[str]().union(*(spellings_of(each.sites) for each in own))


def _principal(call: Call[Any]) -> Principal:
    assert isinstance(call.caller, Principal)
    return call.caller


def _unknown() -> Any:
    raise NotFound("There is no token of that id: GET /api/v1/tokens lists them.", code="unknown_token")


def _name(text: str) -> str:
    if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text):
        raise RequestError("name holds a control character: leave it out.", code="bad_name")
    return text


def covered_sites(names: tuple[str, ...]) -> tuple[str, ...]:
    """Sites in their one spelling. They need not exist yet."""
    for index, name in enumerate(names):
        if not valid_site_id(name):
            raise RequestError(
                f"sites[{index}] is {name[:128]!r}: a site's id is a name such as example.com.", code="bad_site"
            )
    return tuple(valid_site_id(name) for name in names)
