"""Which person an identity is, on real tables: known by subject, taken over by a verified address, or made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from analytics_server.access.oidc.failures import NoRole, OidcRefused
from analytics_server.access.oidc.people import OidcPeople, RoleMapping
from analytics_server.access.oidc.sign_in import OidcIdentity
from analytics_server.access.people.accounts import Accounts, Rights
from analytics_server.access.principals import Role
from analytics_server.config import ClickhouseSection, Config
from analytics_server.errors import ConfigError
from analytics_server.store import make_store, migrate

ISSUER = "https://id.example"
MAPPING = RoleMapping(["admins=owner", "staff=viewer@a.example", "staff=editor@b.example", "leads=admin@a.example"])
NONE = RoleMapping([])


@pytest.fixture
async def accounts(embedded_path: Path) -> AsyncIterator[Accounts]:
    store = make_store(Config(clickhouse=ClickhouseSection(url=f"chdb://{embedded_path}", database="oidc", threads=1)))
    await store.open()
    await migrate(store)
    yield Accounts(store)
    await store.command("DROP DATABASE oidc")
    await store.close()


def identity(**changes: Any) -> OidcIdentity:
    values: dict[str, Any] = {
        "issuer": ISSUER,
        "subject": "1",
        "email": "anna@example.org",
        "email_verified": True,
        "name": "Anna",
        "groups": ("staff",),
    }
    return OidcIdentity(**values | changes)


def test_groups_have_the_roles_of_all_of_them() -> None:
    assert MAPPING.rights(["staff"]) == Rights(roles={"a.example": Role.VIEWER, "b.example": Role.EDITOR})
    assert MAPPING.rights(["leads", "staff"]) == Rights(roles={"a.example": Role.ADMIN, "b.example": Role.EDITOR})
    assert MAPPING.rights(["admins"]) == Rights(owner=True)
    assert MAPPING.rights(["Staff", "other"]).is_empty
    with pytest.raises(ConfigError, match="can't be a site's id"):
        RoleMapping(["staff=viewer@a..example"])


async def test_a_person_with_a_role_is_made_once(accounts: Accounts) -> None:
    people = OidcPeople(accounts, MAPPING)
    made = await people.person_of(identity())
    assert (made.email, made.name, made.password_hash) == ("anna@example.org", "Anna", "")
    again = await people.person_of(identity(email="anna@new.example", email_verified=False))
    assert again.id == made.id
    other = await people.person_of(identity(subject="2", email="ben@example.org"))
    assert other.id != made.id


async def test_the_provider_gives_and_takes_roles_at_each_sign_in(accounts: Accounts) -> None:
    people = OidcPeople(accounts, MAPPING)
    made = await people.person_of(identity())
    promoted = await people.person_of(identity(groups=("admins",)))
    assert (promoted.id, promoted.rights) == (made.id, Rights(owner=True))
    assert (await people.person_of(identity(groups=("staff",)))).rights == made.rights
    with pytest.raises(NoRole) as refused:
        await people.person_of(identity(groups=()))
    assert refused.value.code == "no_role"
    assert accounts.all() == []


async def test_who_has_no_role_gets_no_account(accounts: Accounts) -> None:
    for mapping in (MAPPING, NONE):
        with pytest.raises(NoRole):
            await OidcPeople(accounts, mapping).person_of(identity(groups=("other",)))
    assert accounts.all() == []


async def test_an_account_is_taken_over_by_a_verified_address_only(accounts: Accounts) -> None:
    rights = Rights(roles={"c.example": Role.ADMIN})
    known = await accounts.add("anna@example.org", name="Anna", rights=rights, password_hash="x")
    people = OidcPeople(accounts, NONE)
    with pytest.raises(NoRole):
        await people.person_of(identity(email_verified=False))
    linked = await people.person_of(identity())
    assert (linked.id, linked.rights, linked.password_hash) == (known.id, rights, "x")
    with pytest.raises(OidcRefused, match="another identity"):
        await people.person_of(identity(subject="2"))
    with pytest.raises(OidcRefused, match="another identity"):
        await people.person_of(identity(issuer="https://other.example"))


async def test_no_account_is_made_of_an_address_that_nobody_verified(accounts: Accounts) -> None:
    with pytest.raises(OidcRefused, match="not verified"):
        await OidcPeople(accounts, MAPPING).person_of(identity(email_verified=False))
    assert accounts.all() == []
