"""One sign-in through a provider: the authorization request, and the identity that comes back with the callback.

Between the two, the browser keeps a `Pending` in a cookie of its own: state, nonce and the PKCE verifier are random
and serve once, within `PENDING_S`. The server keeps nothing, so that any server may answer the browser's return.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus, urlencode

import msgspec

from analytics_server.access.oidc.failures import OidcRefused
from analytics_server.access.oidc.id_token import key_id_of, verify
from analytics_server.access.oidc.provider import OidcProvider, fetch_json

PENDING_S = 600
MOST_GROUPS = 1_000


class OidcClient(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider knows this server as. `redirect_url` is the address that browsers come back to."""

    client_id: str
    client_secret: str
    redirect_url: str
    scopes: str = "openid email profile"
    role_claim: str = "groups"
    skew_s: int = 60


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in under way, as the browser's cookie keeps it. `back_to`: a path of the dashboard."""

    state: str
    nonce: str
    verifier: str
    begun_at: int
    back_to: str = ""


class OidcIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Who signed in. A person is known by `issuer` and `subject`; `email` counts only where it is verified."""

    issuer: str
    subject: str
    email: str
    email_verified: bool
    name: str
    groups: tuple[str, ...]


class _Tokens(msgspec.Struct):
    id_token: str
    access_token: str = ""


class OidcSignIn:
    """`clock`: seconds since 1970."""

    def __init__(self, provider: OidcProvider, client: OidcClient, clock: Callable[[], float] = time.time) -> None:
        self._provider = provider
        self._client = client
        self._clock = clock

    async def begin(self, back_to: str = "") -> tuple[str, Pending]:
        """The provider's address to send the browser to, and what it has to bring back. Raises `OidcUnavailable`."""
        metadata = await self._provider.metadata()
        pending = Pending(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            begun_at=int(self._clock()),
            back_to=back_to,
        )
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self._client.client_id,
                "redirect_uri": self._client.redirect_url,
                "scope": self._client.scopes,
                "state": pending.state,
                "nonce": pending.nonce,
                "code_challenge": _challenge(pending.verifier),
                "code_challenge_method": "S256",
            }
        )
        address = metadata.authorization_endpoint
        return f"{address}{'&' if '?' in address else '?'}{query}", pending

    async def finish(self, parameters: Mapping[str, str], pending: Pending | None) -> OidcIdentity:
        """Who came back. Raises `OidcRefused`, `OidcUnavailable`.

        `parameters`: the query string of the browser's return; `pending`: of its cookie, None without one.
        """
        if pending is None:
            raise OidcRefused("This browser has begun no sign-in here, or its cookie was lost: begin again.")
        if not hmac.compare_digest(parameters.get("state", "").encode(), pending.state.encode()):
            raise OidcRefused("The answer belongs to another sign-in (its state differs): begin again.")
        if not 0 <= self._clock() - pending.begun_at <= PENDING_S:
            raise OidcRefused(f"The sign-in took longer than {PENDING_S // 60} minutes: begin again.")
        metadata = await self._provider.metadata()
        sent_issuer = parameters.get("iss", "")
        if sent_issuer != metadata.issuer and (sent_issuer or metadata.authorization_response_iss_parameter_supported):
            raise OidcRefused("The answer comes from another provider (its iss differs).")  # RFC 9207
        if "error" in parameters:
            raise OidcRefused(f"The provider refused ({parameters['error'][:80]!r}).")
        if not (code := parameters.get("code", "")):
            raise OidcRefused("The provider sent no code.")
        tokens = await self._redeem(
            metadata.token_endpoint, metadata.token_endpoint_auth_methods_supported, code, pending
        )
        keys = await self._provider.keys(key_id_of(tokens.id_token))
        claims = dict(
            verify(
                tokens.id_token,
                keys,
                issuer=metadata.issuer,
                client_id=self._client.client_id,
                nonce=pending.nonce,
                now=self._clock(),
                skew_s=self._client.skew_s,
            )
        )
        if metadata.userinfo_endpoint and tokens.access_token and not self._is_complete(claims):
            more = await fetch_json(
                "GET",
                metadata.userinfo_endpoint,
                dict[str, Any],
                headers={"Authorization": f"Bearer {tokens.access_token}"},
            )
            if more.get("sub") != claims["sub"]:
                raise OidcRefused("The provider's user information is of another person.")
            claims = {**more, **claims}
        return self._identity(metadata.issuer, claims)

    def _is_complete(self, claims: Mapping[str, Any]) -> bool:
        return "email" in claims and self._client.role_claim in claims

    async def _redeem(self, address: str, methods: tuple[str, ...], code: str, pending: Pending) -> _Tokens:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._client.redirect_url,
            "code_verifier": pending.verifier,
        }
        headers = {}
        client_id, secret = self._client.client_id, self._client.client_secret
        if not secret:
            form["client_id"] = client_id
        elif "client_secret_basic" in methods:
            pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"  # RFC 6749, section 2.3.1
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form |= {"client_id": client_id, "client_secret": secret}
        return await fetch_json("POST", address, _Tokens, form=form, headers=headers)

    def _identity(self, issuer: str, claims: Mapping[str, Any]) -> OidcIdentity:
        return OidcIdentity(
            issuer=issuer,
            subject=str(claims["sub"]),
            email=str(claims.get("email") or "").strip().lower(),
            email_verified=claims.get("email_verified") is True,
            name=str(claims.get("name") or ""),
            groups=_texts(_at(claims, self._client.role_claim)),
        )


def _at(claims: Mapping[str, Any], name: str) -> object:
    """A claim by its name, or by a path such as `realm_access.roles`."""
    if name in claims:
        return claims[name]
    found: object = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list):
        return tuple(item for item in value[:MOST_GROUPS] if isinstance(item, str))
    return ()


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
