"""Roles, sites and secrets of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.access.actions import ACTIONS, VIEW_SAVED, allowed
from analytics_server.access.gate import Gate
from analytics_server.access.principals import Grant, PrincipalKind, Role
from analytics_server.access.tokens import HeldToken, Token, grants_of, new_token, token_hash
from analytics_server.errors import StoreRetryable, Unauthorized
from analytics_server.http.authorization import ANYWHERE, Narrowing, Resource
from analytics_server.store.protocol import Parameters, ResultSet, Store
from tests.access.test_refresh import PRINCIPAL, TOKEN, FakeStore, token_row


def gate(*rows: tuple[object, ...]) -> tuple[Gate, FakeStore]:
    store = FakeStore(*rows)
    return Gate(cast(Store, store)), store


async def test_only_the_hash_is_stored() -> None:
    table = Tokens()
    made = Gate(cast(Store, table))
    token = await made.create(Role.READ, name="note", sites=("a",))

    ((key, (_, document, _)),) = table.newest.items()
    digest = token_hash(token)
    assert key == digest[:12]
    assert token not in document
    assert digest[12:24] not in document
    principal = made.known(f"Bearer {token}")
    assert principal is not None
    assert (principal.kind, principal.name, principal.sites) == (PrincipalKind.TOKEN, "note", ("a",))
    assert principal.grants == (Grant(role=Role.VIEWER, sites=("a",)),)


async def test_another_secret_of_the_same_id_is_not_the_token() -> None:
    made, _ = gate()
    token = await made.create(Role.READ)
    (stored,) = made.tokens()

    assert stored.is_of(token)
    assert not stored.is_of(token[:-1] + ("A" if token[-1] != "A" else "B"))
    assert not msgspec.structs.replace(stored, hash="").is_of(token)


async def test_a_token_ends_when_it_expires() -> None:
    now = 1_800_000_000.0
    made = Gate(cast(Store, Tokens()), clock=lambda: now)
    token = await made.create(Role.READ, expires_at=datetime.fromtimestamp(now + 60, UTC))
    assert (await made.authenticate(f"Bearer {token}")).expires_at_ms == int((now + 60) * 1000)

    now += 60
    assert made.known(f"Bearer {token}") is None
    with pytest.raises(Unauthorized, match="expired at 2027-01-15T08:01:00Z"):
        await made.authenticate(f"Bearer {token}")


async def test_an_expired_admin_is_no_owner() -> None:
    now = 1_800_000_000.0
    made = Gate(cast(Store, FakeStore()), clock=lambda: now)
    await made.create(Role.ADMIN, sites=("a",))
    await made.create(Role.ADMIN, expires_at=datetime.fromtimestamp(now + 60, UTC))
    assert made.has_owner()
    now += 60
    assert not made.has_owner()


async def test_scopes_that_this_version_does_not_know_grant_nothing() -> None:
    made, _ = gate()
    token = await made.create(scopes=("view_saved", "fly"))
    principal = made.known(f"Bearer {token}")

    assert principal is not None
    assert allowed(principal, VIEW_SAVED, Resource.site("a"))
    assert not any(allowed(principal, action, ANYWHERE) for action in ACTIONS if action is not VIEW_SAVED)


def test_an_earlier_version_can_not_read_a_token_of_scopes() -> None:
    assert b'"role"' not in msgspec.json.encode(Token(token_id="x", scopes=("view_saved",)))


def test_tokens_can_not_be_guessed() -> None:
    made = {new_token() for _ in range(1_000)}

    assert len(made) == 1_000
    assert all(token.startswith("ast_") and len(token) == 47 for token in made)


@pytest.mark.parametrize(
    "header", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER  {TOKEN} "], ids=["plain", "lower", "spaces"]
)
async def test_the_header_s_usual_spellings(header: str) -> None:
    made, _ = gate(token_row())

    assert await made.authenticate(header) == PRINCIPAL


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
async def test_anything_else_is_unauthorized(header: str | None) -> None:
    made, _ = gate(token_row())

    with pytest.raises(Unauthorized):
        await made.authenticate(header)


@given(header=st.text())
async def test_any_header_is_survived(header: str) -> None:
    made, _ = gate(token_row())

    assert made.known(header) in (None, PRINCIPAL)


async def test_a_fixed_token_needs_no_store_and_can_not_be_revoked() -> None:
    made, store = gate()
    made.accept("from the environment", Role.ADMIN, "ANALYTICS_ADMIN_TOKEN")
    principal = made.known("Bearer from the environment")

    assert principal is not None
    assert principal.grants == (Grant(role=Role.OWNER),)
    assert made.tokens() == []
    assert not await made.revoke(principal.token_id)
    assert store.written == []


async def test_known_tokens_work_while_clickhouse_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FakeStore(token_row())
    made = Gate(cast(Store, store), refresh_s=0.0)
    await made.load()

    async def away(sql: str, parameters: Parameters | None = None) -> ResultSet:
        raise StoreRetryable("connection refused")

    monkeypatch.setattr(store, "query", away)

    assert await made.authenticate(f"Bearer {TOKEN}") == PRINCIPAL
    with pytest.raises(Unauthorized):
        await made.authenticate("Bearer wrong")


class Tokens:
    """The table `tokens` as ClickHouse keeps it: of a token's rows the newest counts."""

    def __init__(self) -> None:
        self.newest: dict[str, tuple[datetime, str, int]] = {}

    async def query(self, sql: str, parameters: Parameters | None = None) -> ResultSet:
        rows: list[tuple[object, ...]] = [
            (digest, document, 0, 1) for digest, (_, document, deleted) in self.newest.items() if not deleted
        ]
        return ResultSet(columns=(), rows=rows)

    async def insert(self, table: str, columns: Sequence[str], data: Sequence[Sequence[Any]]) -> None:
        (digest,), (document,), (deleted,), (at,) = data
        if digest not in self.newest or at >= self.newest[digest][0]:
            self.newest[digest] = at, document, deleted


async def two_gates() -> tuple[Gate, Gate, str, str]:
    """Two servers that know one token, the token and its id."""
    table = Tokens()
    one, other = Gate(cast(Store, table)), Gate(cast(Store, table))
    token = await one.create(Role.READ, name="note", sites=("a",))
    await other.load()
    return one, other, token, one.tokens()[0].token_id


async def test_a_token_gets_another_name_and_other_sites_and_keeps_the_rest() -> None:
    one, other, token, token_id = await two_gates()

    renamed = await one.change(token_id, name="new")
    narrowed = await other.change(token_id, sites=("b", "c"))
    await one.load()

    assert renamed is not None
    assert (renamed.name, renamed.sites) == ("new", ("a",))
    assert narrowed is not None
    assert narrowed == await one.find(token_id)
    assert narrowed.principal() == one.known(f"Bearer {token}")
    assert (narrowed.name, narrowed.sites, narrowed.role) == ("new", ("b", "c"), Role.READ)
    assert narrowed.created_at_ms == renamed.created_at_ms
    assert await one.change("nothing", name="x") is None
    assert await one.find("nothing") is None


async def test_a_token_with_a_threshold_grants_nothing_to_a_version_that_knows_none() -> None:
    gate = Gate(cast(Store, Tokens()))
    secrets = [
        await gate.create(role, scopes=scopes, threshold=5)
        for role, scopes in ((Role.READ, ()), (None, ("viewer", "view_drops")))
    ]
    for secret, scopes in zip(secrets, (("read",), ("viewer", "view_drops")), strict=True):
        principal = gate.known(f"Bearer {secret}")
        assert principal is not None
        assert principal.narrowed_by == Narrowing(site_id="", threshold=5, is_link=False)
        token = await gate.find(principal.id)
        assert token is not None
        assert token.all_scopes == scopes
        earlier = msgspec.json.decode(HeldToken.of(token).encode())
        assert not {"role", "scopes"} & earlier.keys()
        assert principal.grants == grants_of(scopes, ())
    plain = await gate.create(Role.READ)
    known = gate.known(f"Bearer {plain}")
    assert known is not None
    assert known.narrowed_by is None


async def test_a_revoked_token_does_not_come_back_by_a_change_elsewhere() -> None:
    one, other, token, token_id = await two_gates()
    assert await one.revoke(token_id)

    assert await other.change(token_id, name="back") is None
    (stored,) = (await two_gates())[0].tokens()
    await other._documents.put((token_id,), HeldToken.of(stored))  # a change that had begun before
    for gate_ in (one, other):
        await gate_.load()
        assert gate_.known(f"Bearer {token}") is None


@pytest.mark.parametrize("covered", ["müller.example", "xn--mller-kva.example"])
@pytest.mark.parametrize("site_id", ["müller.example", "xn--mller-kva.example"])
def test_a_site_is_covered_in_every_spelling(covered: str, site_id: str) -> None:
    principal = Token(token_id="t", role=Role.READ, sites=("a.example", covered)).principal()

    assert principal.covers(site_id)
    assert principal.covers("a.example")
    assert not principal.covers("www." + site_id)
