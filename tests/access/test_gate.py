"""Roles, sites and secrets of tokens."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.access.gate import Gate, Principal, Role, new_token, token_hash
from analytics_server.errors import Forbidden, StoreRetryable, Unauthorized
from analytics_server.store.protocol import Parameters, ResultSet, Store
from tests.access.test_refresh import PRINCIPAL, TOKEN, FakeStore, token_row


def gate(*rows: tuple[object, ...]) -> tuple[Gate, FakeStore]:
    store = FakeStore(*rows)
    return Gate(cast(Store, store)), store


@pytest.mark.parametrize(
    ("role", "reads", "collects", "manages"),
    [(Role.READ, True, False, False), (Role.COLLECT, False, True, False), (Role.ADMIN, True, True, True)],
)
def test_what_a_role_may(role: Role, reads: bool, collects: bool, manages: bool) -> None:
    principal = Principal(token_id="x", role=role)

    def allowed(call: str) -> bool:
        try:
            principal.require_read("a") if call == "read" else principal.require_admin()
        except Forbidden:
            return False
        return True

    assert (allowed("read"), principal.may_collect, allowed("admin")) == (reads, collects, manages)


def test_sites_limit_a_token_and_none_means_all() -> None:
    limited = Principal(token_id="x", role=Role.READ, sites=("a", "b"))

    limited.require_read("a")
    with pytest.raises(Forbidden, match="'c'"):
        limited.require_read("c")
    Principal(token_id="x", role=Role.READ).require_read("anything")


async def test_only_the_hash_is_stored() -> None:
    made, store = gate()
    token = await made.create(Role.READ, name="note", sites=("a",))

    assert token not in str(store.written)
    assert token_hash(token) in store.written
    principal = made.known(f"Bearer {token}")
    assert principal is not None
    assert (principal.role, principal.name, principal.sites) == (Role.READ, "note", ("a",))


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
    assert principal.role is Role.ADMIN
    assert made.tokens() == []
    assert not await made.revoke(principal.token_id)
    assert store.written == []


async def test_known_tokens_work_while_clickhouse_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    made, store = gate(token_row())
    await made.load()
    monkeypatch.setattr("analytics_server.access.gate.REFRESH_S", 0.0)

    async def away(sql: str, parameters: Parameters | None = None) -> ResultSet:
        raise StoreRetryable("connection refused")

    monkeypatch.setattr(store, "query", away)

    assert await made.authenticate(f"Bearer {TOKEN}") == PRINCIPAL
    with pytest.raises(Unauthorized):
        await made.authenticate("Bearer wrong")
