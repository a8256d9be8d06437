"""Sign-in through a real provider: what comes back is a person, and every forgery is refused."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey

from analytics_server.access.oidc.failures import OidcRefused, OidcUnavailable
from analytics_server.access.oidc.id_token import key_id_of, verify
from analytics_server.access.oidc.provider import OidcProvider
from analytics_server.access.oidc.sign_in import PENDING_S, OidcClient, OidcIdentity, OidcSignIn, Pending
from tests.access.oidc.provider import new_key, running_provider, signed_in_at

REDIRECT = "http://127.0.0.1:9/api/v1/session/oidc/callback"
BASIC, POSTED, PUBLIC = "with basic", "with post", "without secret"
SECRET = "a secret: with / and +%"


def client_of(client_id: str, **changes: Any) -> OidcClient:
    secret = "" if client_id == PUBLIC else SECRET
    return OidcClient(client_id=client_id, client_secret=secret, redirect_url=REDIRECT, **changes)


def registered(client_id: str, method: str) -> dict[str, Any]:
    secret = {} if method == "none" else {"client_secret": SECRET}
    return {
        "client_id": client_id,
        **secret,
        "redirect_uris": [REDIRECT],
        "token_endpoint_auth_method": method,
        "application_type": "native",
    }


CLIENTS = [
    registered(BASIC, "client_secret_basic"),
    registered(POSTED, "client_secret_post"),
    registered(PUBLIC, "none"),
]


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with running_provider(clients=CLIENTS, keys=[new_key("first")]) as running:
        yield running


async def sign_in(
    issuer: str,
    *,
    client: OidcClient | None = None,
    login: str = "alice",
    change: Callable[[dict[str, str], Pending], tuple[dict[str, str], Pending | None]] | None = None,
) -> OidcIdentity:
    """One sign-in from the first click to the end; `change` forges what the browser brings back."""
    flow = OidcSignIn(OidcProvider(issuer), client or client_of(BASIC))
    address, pending = await flow.begin("/dashboard")
    brought: dict[str, str] = await signed_in_at(address, login, REDIRECT)
    kept: Pending | None = pending
    if change is not None:
        brought, kept = change(brought, pending)
    return await flow.finish(brought, kept)


@pytest.mark.parametrize("client_id", [BASIC, PUBLIC])
async def test_a_person_comes_back_with_name_address_and_groups(issuer: str, client_id: str) -> None:
    assert await sign_in(issuer, client=client_of(client_id)) == OidcIdentity(
        issuer=issuer,
        subject="alice",
        email="alice@example.com",
        email_verified=True,
        name="Alice",
        groups=("staff", "analytics"),
    )


async def test_an_address_that_nobody_verified_says_so(issuer: str) -> None:
    found = await sign_in(issuer, login="mallory")
    assert (found.subject, found.email, found.email_verified) == ("mallory", "alice@example.com", False)


async def test_a_secret_in_the_form_where_the_provider_takes_no_other() -> None:
    posting = [registered(POSTED, "client_secret_post")]
    with running_provider(clients=posting, keys=[new_key("k")], methods=["client_secret_post"]) as issuer:
        assert (await sign_in(issuer, client=client_of(POSTED))).subject == "alice"


def other(name: str) -> Callable[[dict[str, str], Pending], tuple[dict[str, str], Pending | None]]:
    return lambda brought, pending: (brought, msgspec.structs.replace(pending, **{name: "x" * 43}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda brought, pending: (brought, None), "has begun no sign-in"),
        (lambda brought, pending: ({**brought, "state": "x" * 43}, pending), "its state differs"),
        (lambda brought, pending: ({key: text for key, text in brought.items() if key != "state"}, pending), "state"),
        (other("nonce"), "its nonce differs"),
        (other("verifier"), "400 (invalid_grant)"),
        (lambda brought, pending: ({**brought, "code": "x" * 43}, pending), "400 (invalid_grant)"),
        (lambda brought, pending: ({**brought, "iss": "https://other.example"}, pending), "another provider"),
        (lambda brought, pending: ({key: text for key, text in brought.items() if key != "iss"}, pending), "provider"),
        (lambda brought, pending: ({**brought, "error": "access_denied"}, pending), "access_denied"),
        (
            lambda brought, pending: (
                brought,
                msgspec.structs.replace(pending, begun_at=pending.begun_at - PENDING_S - 1),
            ),
            "took longer than 10 minutes",
        ),
    ],
)
async def test_forgeries_are_refused(issuer: str, change: Any, message: str) -> None:
    with pytest.raises(OidcRefused) as refused:
        await sign_in(issuer, change=change)
    assert message in refused.value.message
    assert SECRET not in refused.value.message


async def test_a_code_serves_once(issuer: str) -> None:
    flow = OidcSignIn(OidcProvider(issuer), client_of(BASIC))
    address, pending = await flow.begin()
    brought = await signed_in_at(address, "alice", REDIRECT)
    await flow.finish(brought, pending)
    with pytest.raises(OidcRefused, match="invalid_grant"):
        await flow.finish(brought, pending)


async def test_a_code_of_another_client_is_refused(issuer: str) -> None:
    address, pending = await OidcSignIn(OidcProvider(issuer), client_of(PUBLIC)).begin()
    brought = await signed_in_at(address, "alice", REDIRECT)
    with pytest.raises(OidcRefused, match="invalid_grant"):
        await OidcSignIn(OidcProvider(issuer), client_of(BASIC)).finish(brought, pending)


@pytest.mark.parametrize(("later_s", "is_good"), [(0, True), (115, True), (125, False), (-55, True)])
async def test_the_clocks_may_differ_by_a_minute(issuer: str, later_s: int, is_good: bool) -> None:
    """The provider's tokens live for 60 seconds."""
    begun = time.time()
    now = [begun]
    flow = OidcSignIn(OidcProvider(issuer), client_of(BASIC), clock=lambda: now[0])
    address, pending = await flow.begin()
    pending = msgspec.structs.replace(pending, begun_at=int(begun) - 60)
    brought = await signed_in_at(address, "alice", REDIRECT)
    now[0] = time.time() + later_s  # The provider's clock goes on: only `finish` lies between.
    if is_good:
        assert (await flow.finish(brought, pending)).subject == "alice"
    else:
        with pytest.raises(OidcRefused, match="ExpiredTokenError"):
            await flow.finish(brought, pending)


async def test_the_provider_may_change_its_keys() -> None:
    with running_provider(clients=CLIENTS, keys=[new_key("first")]) as issuer:
        now = [0.0]
        provider = OidcProvider(issuer, clock=lambda: now[0])
        old = await provider.keys("first")
        port = int(issuer.rsplit(":", 1)[1])
    with running_provider(port=port, clients=CLIENTS, keys=[new_key("second")]) as again:
        assert again == issuer
        flow = OidcSignIn(provider, client_of(BASIC))
        address, pending = await flow.begin()
        brought = await signed_in_at(address, "alice", REDIRECT)
        now[0] += 2
        assert (await flow.finish(brought, pending)).subject == "alice"
        assert {key.kid for key in (await provider.keys("second")).keys} == {"second"}
        assert {key.kid for key in old.keys} == {"first"}
        assert await provider.keys("unknown") is await provider.keys("second"), "a stranger's key made it ask again"


async def test_a_provider_of_another_name_is_none(issuer: str) -> None:
    wrong = issuer.replace("127.0.0.1", "localhost")
    with pytest.raises(OidcUnavailable, match="calls itself"):
        await OidcSignIn(OidcProvider(wrong), client_of(BASIC)).begin()


async def test_a_provider_that_is_away_is_said_to_be() -> None:
    with running_provider(clients=CLIENTS, keys=[new_key("first")]) as issuer:
        pass
    with pytest.raises(OidcUnavailable, match="can't be reached"):
        await OidcSignIn(OidcProvider(issuer), client_of(BASIC)).begin()


# ---- tokens that no provider would make ---------------------------------------

NOW = 1_800_000_000
KEY = RSAKey.import_key(new_key("k"))
KEYS = KeySet.import_key_set({"keys": [KEY.as_dict(private=False)]})
GOOD: dict[str, Any] = {
    "iss": "https://id.example",
    "sub": "alice",
    "aud": "me",
    "exp": NOW + 60,
    "iat": NOW,
    "nonce": "n",
}


def signed(claims: dict[str, Any], *, key: Any = KEY, **header: str) -> str:
    return jwt.encode({"alg": "RS256", "kid": "k", **header}, claims, key, algorithms=["RS256", "HS256", "none"])


def verified(token: str) -> str:
    key_id_of(token)
    claims = verify(token, KEYS, issuer="https://id.example", client_id="me", nonce="n", now=NOW, skew_s=60)
    return str(claims["sub"])


def test_a_good_token_is_taken() -> None:
    assert verified(signed(GOOD)) == "alice"
    assert verified(signed({**GOOD, "aud": ["me"]})) == "alice"
    assert verified(signed({**GOOD, "aud": ["me", "other"], "azp": "me"})) == "alice"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://id.example/"},
        {"iss": None},
        {"aud": "other"},
        {"aud": ["other"]},
        {"aud": []},
        {"aud": None},
        {"aud": ["me", "other"]},
        {"aud": ["me", "other"], "azp": "other"},
        {"azp": "other"},
        {"exp": NOW - 61},
        {"exp": None},
        {"exp": "soon"},
        {"iat": NOW + 61},
        {"iat": None},
        {"nbf": NOW + 61},
        {"nonce": "m"},
        {"nonce": None},
        {"nonce": ""},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
    ],
    ids=str,
)
def test_a_token_with_other_claims_is_refused(changes: dict[str, Any]) -> None:
    claims = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    with pytest.raises(OidcRefused):
        verified(signed(claims))


def test_signatures_that_prove_nothing_are_refused() -> None:
    stranger = RSAKey.import_key(new_key("k"))
    head, body, signature = signed(GOOD).split(".")
    unsigned_head = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    forged = [
        signed(GOOD, key=stranger),
        signed(GOOD, key=OctKey.import_key(str(KEY.as_dict(private=False)["n"])), alg="HS256"),
        f"{unsigned_head}.{body}.",
        f"{unsigned_head}.{body}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{body}x.{signature}",
        "",
        ".",
        "..",
        "x" * 40_000,
    ]
    for token in forged:
        with pytest.raises(OidcRefused):
            verified(token)
