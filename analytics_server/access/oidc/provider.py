"""OpenID Connect discovery: a provider's endpoints and signing keys (JWKS), fetched on demand and cached.

Discovery is that of OpenID Connect Discovery 1.0. A key that is not known makes the keys be fetched again, so that a
provider may change them at any time, but not more often than every `KEYS_AGAIN_S` seconds. Everything fetched is
bounded in size and time, no redirect is followed, and only https is spoken, but for a provider on this machine.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from analytics_server.access.oidc.failures import OidcRefused, OidcUnavailable
from analytics_server.spelling.host_names import is_loopback

MOST_BYTES = 262_144
TIMEOUT_S = 10.0
METADATA_KEPT_S = 3_600.0
KEYS_KEPT_S = 3_600.0
KEYS_AGAIN_S = 1.0

T = TypeVar("T")


class ProviderMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a discovery document that the code flow needs."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class OidcProvider:
    """One provider, by its issuer. `clock` counts seconds, and never goes back."""

    def __init__(self, issuer: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.issuer = issuer
        self._clock = clock
        self._metadata: ProviderMetadata | None = None
        self._keys: KeySet | None = None
        self._read_at = self._keys_read_at = 0.0
        self._fetching = asyncio.Lock()

    async def metadata(self) -> ProviderMetadata:
        """Its endpoints. Raises `OidcUnavailable`."""
        async with self._fetching:
            if self._metadata is None or self._clock() - self._read_at > METADATA_KEPT_S:
                address = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
                self._metadata = self._checked(await fetch_json("GET", address, ProviderMetadata))
                self._read_at = self._clock()
            return self._metadata

    def _checked(self, found: ProviderMetadata) -> ProviderMetadata:
        if found.issuer != self.issuer:
            raise OidcUnavailable(
                f"The provider calls itself {found.issuer!r}: write [oidc] issuer exactly like that, or check whose "
                "address it is."
            )
        for address in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri, found.userinfo_endpoint):
            if address and not is_trustworthy(address):
                raise OidcUnavailable(f"The provider names {address!r}, which is no https address.")
        return found

    async def keys(self, key_id: str) -> KeySet:
        """Its signing keys; fetched again if none is called `key_id`. Raises `OidcUnavailable`."""
        metadata = await self.metadata()
        async with self._fetching:
            age_s = self._clock() - self._keys_read_at
            is_missing = self._keys is None or (bool(key_id) and key_id not in _names(self._keys))
            if self._keys is None or age_s > KEYS_KEPT_S or (is_missing and age_s > KEYS_AGAIN_S):
                document: Any = await fetch_json("GET", metadata.jwks_uri, dict)
                try:
                    self._keys = KeySet.import_key_set(document)
                except (JoseError, ValueError, TypeError, KeyError) as error:
                    raise OidcUnavailable(f"The provider's keys can't be read: {type(error).__name__}.") from error
                self._keys_read_at = self._clock()
            return self._keys


def _names(keys: KeySet) -> set[str]:
    return {key.kid for key in keys.keys if key.kid}


def is_trustworthy(address: str) -> bool:
    """Is it an https address, or one of this machine?"""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme == "https":
        return bool(host)
    return parts.scheme == "http" and is_loopback(host)


async def fetch_json(
    method: str,
    address: str,
    kind: type[T],
    *,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> T:
    """What an address of the provider answers, decoded as `kind`. Raises `OidcUnavailable`, `OidcRefused` for a 4xx."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    place = _place(address)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.request(
                method,
                address,
                data=form,
                headers={"Accept": "application/json", "Accept-Encoding": "identity", **(headers or {})},
                allow_redirects=False,
            ) as answer,
        ):
            body = await answer.content.read(MOST_BYTES + 1)
            while len(body) <= MOST_BYTES and (more := await answer.content.read(MOST_BYTES + 1 - len(body))):
                body += more
            status = answer.status
    except TimeoutError as error:
        raise OidcUnavailable(f"The provider's {place} did not answer within {TIMEOUT_S:.0f} s.") from error
    except (aiohttp.ClientError, OSError) as error:
        raise OidcUnavailable(f"The provider's {place} can't be reached ({type(error).__name__}).") from error
    if status != 200:
        if 400 <= status < 500:
            raise OidcRefused(f"The provider's {place} answered {status} ({_error_code(body)}).")
        raise OidcUnavailable(f"The provider's {place} answered {status}.")
    if len(body) > MOST_BYTES:
        raise OidcUnavailable(f"The provider's {place} answered more than {MOST_BYTES} bytes.")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OidcUnavailable(f"What the provider's {place} answered can't be read: {error}.") from error


class _ErrorAnswer(msgspec.Struct):
    error: str = ""


def _error_code(body: bytes) -> str:
    """The code of an error answer, such as invalid_grant; nothing that could be a secret."""
    try:
        code = msgspec.json.decode(body, type=_ErrorAnswer).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "no error code"
    return code if re.fullmatch(r"[a-z_]{1,40}", code) else "no error code"


def _place(address: str) -> str:
    """Host and path: a query string could hold a secret."""
    parts = urlsplit(address)
    return f"{parts.netloc}{parts.path}"
