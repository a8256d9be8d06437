"""Tokens over HTTP: `/api/v1/tokens`. Everything about them needs an admin's token for all sites."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from analytics_server.access.actions import MANAGE_TOKENS
from analytics_server.access.gate import ID_CHARS, Gate, Principal, Role, token_hash
from analytics_server.access.site_routes import MAX_LISTED, SiteId
from analytics_server.access.sites import valid_site_id
from analytics_server.errors import NotFound, RequestError
from analytics_server.http.declaration import Body, Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint

NAME_CHARS = 120

TokenName = Annotated[
    str,
    Meta(max_length=NAME_CHARS, extra_json_schema={"pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$"}),
]
Covered = Annotated[tuple[SiteId, ...], Meta(max_length=MAX_LISTED, description="Empty: all sites, later ones too.")]


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new token."""

    role: Role
    name: TokenName = ""
    sites: Covered = ()


class TokenChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to change; what is left out stays. A role can't change."""

    name: TokenName | None = None
    sites: Covered | None = None


class TokensAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """All tokens, the oldest first, without their secrets."""

    tokens: list[Principal]


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token that was made. `token` is the secret and is shown this once."""

    token: str
    token_id: str
    role: Role
    name: str
    sites: tuple[str, ...]


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
                summary="All tokens, without their secrets",
                tag="access",
                about="Needs an admin token for all sites, as everything about tokens.",
                action=MANAGE_TOKENS,
                handle=self.list_tokens,
                replies=(Reply(about="The oldest first.", type=TokensAnswer),),
            ),
            Endpoint(
                method="POST",
                path="/api/v1/tokens",
                name="create_token",
                summary="Make a token",
                tag="access",
                action=MANAGE_TOKENS,
                handle=self.create_token,
                body=Body(
                    types=(TokenRequest,),
                    examples={"reader": {"role": "read", "name": "Dashboards", "sites": ["example.com"]}},
                ),
                replies=(Reply(status=201, about="The token, shown this once.", type=NewToken),),
                errors={400: ("bad_name", "bad_site")},
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
                replies=(Reply(about="The token.", type=Principal),),
                errors=_NO_TOKEN,
                asks_store=True,
            ),
            Endpoint(
                method="PUT",
                path="/api/v1/tokens/{token_id}",
                name="change_token",
                summary="Rename a token or give it other sites",
                tag="access",
                about="What is left out stays. All servers know within five seconds.",
                action=MANAGE_TOKENS,
                handle=self.change_token,
                parameters=(_TOKEN,),
                body=Body(types=(TokenChange,), examples={"sites": {"sites": ["example.com", "shop.example.com"]}}),
                replies=(Reply(about="The token as it is now.", type=Principal),),
                errors={400: ("bad_name", "bad_site"), **_NO_TOKEN},
                asks_store=True,
            ),
            Endpoint(
                method="DELETE",
                path="/api/v1/tokens/{token_id}",
                name="revoke_token",
                summary="Revoke a token, for good",
                tag="access",
                about="All servers know within five seconds.",
                action=MANAGE_TOKENS,
                handle=self.revoke_token,
                parameters=(_TOKEN,),
                replies=(Reply(status=204, about="Revoked."),),
                errors=_NO_TOKEN,
                asks_store=True,
            ),
        ]

    async def list_tokens(self, call: Call[None]) -> TokensAnswer:
        """All tokens."""
        return TokensAnswer(tokens=self._gate.tokens())

    async def show_token(self, call: Call[None]) -> Principal:
        """One token. Raises `NotFound`."""
        return _known(await self._gate.find(call.path("token_id")))

    async def create_token(self, call: Call[TokenRequest]) -> NewToken:
        """Make a token. Raises `RequestError`."""
        wanted = call.body
        name, sites = _name(wanted.name), _covered(wanted.sites)
        token = await self._gate.create(wanted.role, name=name, sites=sites)
        return NewToken(token=token, token_id=token_hash(token)[:ID_CHARS], role=wanted.role, name=name, sites=sites)

    async def change_token(self, call: Call[TokenChange]) -> Principal:
        """Change a token's name or sites. Raises `NotFound`, `RequestError`."""
        change = call.body
        name = None if change.name is None else _name(change.name)
        sites = None if change.sites is None else _covered(change.sites)
        return _known(await self._gate.change(call.path("token_id"), name=name, sites=sites))

    async def revoke_token(self, call: Call[None]) -> None:
        """Delete a token. Raises `NotFound`."""
        if not await self._gate.revoke(call.path("token_id")):
            _known(None)


def _known(principal: Principal | None) -> Principal:
    if principal is None:
        raise NotFound("There is no token of that id: GET /api/v1/tokens lists them.", code="unknown_token")
    return principal


def _name(text: str) -> str:
    if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text):
        raise RequestError("name holds a control character: leave it out.", code="bad_name")
    return text


def _covered(names: tuple[str, ...]) -> tuple[str, ...]:
    """Sites in their one spelling. They need not exist yet."""
    for index, name in enumerate(names):
        if not valid_site_id(name):
            raise RequestError(
                f"sites[{index}] is {name[:128]!r}: a site's id is a name such as example.com.", code="bad_site"
            )
    return tuple(valid_site_id(name) for name in names)
