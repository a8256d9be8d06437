"""Verification of an ID token, by OpenID Connect Core 1.0, section 3.1.3.7.

Only signatures of a public key count. A token without one, or signed with the client's secret, is refused: the list of
algorithms is fixed here, and never the token's choice.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from analytics_server.access.oidc.failures import OidcRefused

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
MOST_CHARS = 32_768


def key_id_of(token: str) -> str:
    """The name of the key that signed it, unverified; "" if it names none. Raises `OidcRefused`."""
    if len(token) > MOST_CHARS:
        raise OidcRefused(f"The ID token is longer than {MOST_CHARS} characters.")
    try:
        name = jws.extract_compact(token.encode()).headers().get("kid", "")
    except (JoseError, ValueError, TypeError) as error:
        raise OidcRefused("The ID token can't be read.") from error
    return name if isinstance(name, str) else ""


def verify(
    token: str, keys: KeySet, *, issuer: str, client_id: str, nonce: str, now: float, skew_s: int
) -> Mapping[str, Any]:
    """The claims of a token that is genuine, for this client, fresh, and of this sign-in. Raises `OidcRefused`.

    `now`: seconds since 1970; `skew_s`: how far the provider's clock may be off.
    """
    try:
        claims = jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims
        jwt.JWTClaimsRegistry(
            now=lambda: int(now),
            leeway=skew_s,
            iss={"essential": True, "value": issuer},
            sub={"essential": True},
            aud={"essential": True, "value": client_id},
            exp={"essential": True},
            iat={"essential": True},
        ).validate(claims)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise OidcRefused(f"The ID token is refused: {_reason(error)}.") from error
    audience = claims["aud"]
    if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != client_id:
        raise OidcRefused("The ID token is for several clients and was not issued to this one.")
    if "azp" in claims and claims["azp"] != client_id:
        raise OidcRefused("The ID token was issued to another client.")
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        raise OidcRefused("The ID token is of another sign-in (its nonce differs).")
    return claims


def _reason(error: Exception) -> str:
    """What is wrong, without the token's content."""
    claim = getattr(error, "claim", None)
    return f"{type(error).__name__} ({claim})" if isinstance(claim, str) else type(error).__name__
