"""Sessions and accounts on two servers that share a store."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyotp
import pytest
from argon2 import PasswordHasher

from analytics_server.access.people.accounts import Account, Accounts, Rights
from analytics_server.access.people.passwords import Passwords
from analytics_server.access.people.sessions import PersonSessions
from analytics_server.access.people.sign_in import SignIn
from analytics_server.access.principals import Role
from analytics_server.config import AccessSection
from analytics_server.errors import AnalyticsError, Conflict, NotFound, Unauthorized
from analytics_server.store import Store

PASSWORD = "seven green umbrellas"
EMAIL = "anna@example.org"
SETTINGS = AccessSection(
    session_idle_s=3_600,
    session_absolute_s=86_400,
    sign_ins_per_account=3,
    sign_ins_per_account_in_all=6,
    sign_in_window_s=10**9,  # none begins in the middle of a test
)


@dataclass(slots=True)
class Clock:
    now: float = 1_900_000_000.0

    def __call__(self) -> float:
        return self.now


class Server:
    """The parts of one server."""

    def __init__(self, store: Store, clock: Clock, **parts: Any) -> None:
        self.people = Accounts(store, clock=clock, refresh_s=0.0)
        self.sessions = PersonSessions(store, self.people, SETTINGS, clock=clock, refresh_s=0.0)
        hasher = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        self.sign_in = SignIn(self.people, self.sessions, SETTINGS, clock=clock, passwords=hasher, **parts)

    async def add(self, **rights: object) -> Account:
        hash_ = await self.sign_in.passwords.hash(PASSWORD)
        given = msgspec.convert(rights or {"owner": True}, Rights)
        return await self.people.add(EMAIL, name="", rights=given, password_hash=hash_)

    async def enter(
        self, password: str = PASSWORD, code: str = "", email: str = EMAIL, address: str = "192.0.2.1"
    ) -> str:
        return (await self.sign_in.sign_in(email, password, code, address))[1]

    async def refusal(
        self, password: str = PASSWORD, code: str = "", email: str = EMAIL, address: str = "192.0.2.1"
    ) -> str:
        with pytest.raises(AnalyticsError) as refused:
            await self.enter(password, code, email, address)
        return refused.value.code


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def two(migrated: Store, clock: Clock) -> tuple[Server, Server]:
    return Server(migrated, clock), Server(migrated, clock)


async def is_over(server: Server, secret: str) -> bool:
    try:
        await server.sessions.authenticate(secret)
    except Unauthorized:
        return True
    return False


async def test_a_session_is_known_on_every_server_until_it_is_signed_out(two: tuple[Server, Server]) -> None:
    one, other = two
    person = await one.add(roles={"a.example": "editor"})
    secret = await other.enter(email=" ANNA@example.org ")

    principal = await one.sessions.authenticate(secret)
    assert (principal.id, principal.name, principal.sites) == (person.id, EMAIL, ("a.example",))
    assert principal.grants[0].role is Role.EDITOR
    await one.sessions.end(secret)
    assert await is_over(one, secret)
    assert await is_over(other, secret)


async def test_signing_out_everywhere_ends_all_sessions_and_lets_new_ones_begin(two: tuple[Server, Server]) -> None:
    one, other = two
    person = await one.add()
    secrets = [await one.enter(), await other.enter()]
    await other.sessions.end_all(person.id)
    assert [await is_over(one, secret) for secret in secrets] == [True, True]
    assert not await is_over(one, await one.enter())


async def test_one_session_too_many_ends_the_oldest(
    two: tuple[Server, Server], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics_server.access.people.sessions.MOST_SESSIONS", 3)
    one, other = two
    await one.add()
    secrets = []
    for server in (one, other, one, other):
        clock.now += 1
        secrets.append(await server.enter())
    assert [await is_over(one, secret) for secret in secrets] == [True, False, False, False]


async def test_a_person_sees_their_own_sessions_on_all_servers(two: tuple[Server, Server], clock: Clock) -> None:
    one, other = two
    person = await one.add()
    first = await one.enter()
    began_ms = int(clock.now * 1000)
    clock.now += 600
    second = await other.enter()
    await other.sessions.authenticate(first)
    await other.sessions.uses.write()
    used_ms = int(clock.now * 1000)

    shown = await one.sessions.of_person(person, second)
    assert [(each.created_at_ms, each.current) for each in shown] == [(used_ms, True), (began_ms, False)]
    assert used_ms - 60_000 < shown[1].last_used_at_ms <= used_ms
    assert shown[1].ends_at_ms > shown[1].last_used_at_ms
    clock.now += 6_000
    assert await one.sessions.of_person(person, second) == []  # idle
    await one.sessions.end_all(person.id)
    assert await other.sessions.of_person(person, second) == []


async def test_a_session_ends_when_it_is_idle_on_all_servers(two: tuple[Server, Server], clock: Clock) -> None:
    one, other = two
    await one.add()
    secret = await one.enter()
    clock.now += 3_000
    assert not await is_over(other, secret)
    await other.sessions.uses.write()
    clock.now += 3_000
    assert not await is_over(one, secret)  # used elsewhere meanwhile
    clock.now += 4_000
    assert await is_over(other, secret)
    assert await is_over(one, secret)


async def test_a_session_has_an_absolute_end(two: tuple[Server, Server], clock: Clock) -> None:
    one, _ = two
    await one.add()
    secret = await one.enter()
    for _ in range(28):
        clock.now += 3_000
        assert not await is_over(one, secret)
    clock.now += 3_000
    assert await is_over(one, secret)


async def test_only_hashes_are_stored(two: tuple[Server, Server], migrated: Store) -> None:
    one, _ = two
    await one.add()
    secret = await one.enter()
    stored = [
        str(row)
        for table in ("people", "person_sessions")
        for row in (await migrated.query(f"SELECT * FROM {table}")).rows
    ]
    assert len(stored) == 2
    assert not any(text in row for text in (secret, PASSWORD) for row in stored)


async def test_unknown_accounts_and_wrong_passwords_look_the_same_and_are_bounded(two: tuple[Server, Server]) -> None:
    one, _ = two
    await one.add()
    for email in (EMAIL, "nobody@example.org"):
        codes = [await one.refusal("wrong password!", email=email) for _ in range(4)]
        assert codes == ["sign_in_failed"] * 3 + ["too_many_attempts"]
    assert await one.refusal() == "too_many_attempts"


async def test_a_stranger_elsewhere_locks_nobody_out_but_many_are_bounded(two: tuple[Server, Server]) -> None:
    one, _ = two
    await one.add()
    wrong = "wrong password!"
    assert [await one.refusal(wrong, address="192.0.2.2") for _ in range(5)][2:] == ["sign_in_failed"] + [
        "too_many_attempts"
    ] * 2
    assert await one.enter()
    assert [await one.refusal(wrong, address=f"198.51.100.{n}") for n in range(4)][2:] == [
        "sign_in_failed",
        "too_many_attempts",
    ]


async def test_codes_are_bounded_wherever_they_come_from(two: tuple[Server, Server], clock: Clock) -> None:
    one, _ = two
    person = await one.add()
    totp = pyotp.TOTP((await one.sign_in.begin_second_factor(person)).secret)
    await one.sign_in.confirm_second_factor(person, totp.at(int(clock.now)))
    found = [await one.refusal(code="no code", address=f"198.51.100.{n}") for n in range(4)]
    assert found == ["sign_in_failed"] * 3 + ["too_many_attempts"]


async def test_what_fails_by_the_server_is_no_attempt(
    two: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = two
    await one.add()
    with monkeypatch.context() as busy:
        busy.setattr("analytics_server.access.people.passwords.MOST_WAITING", 0)
        assert [await one.refusal() for _ in range(10)] == ["busy"] * 10
    assert await one.enter()


async def test_a_second_factor_is_asked_for_once_it_was_confirmed(two: tuple[Server, Server], clock: Clock) -> None:
    one, other = two
    person = await one.add()
    factor = await one.sign_in.begin_second_factor(person)
    totp = pyotp.TOTP(factor.secret)
    assert await one.enter()  # not confirmed yet
    recovery = await one.sign_in.confirm_second_factor(person, totp.at(int(clock.now)))
    with pytest.raises(Conflict):
        await one.sign_in.begin_second_factor(person)

    assert await other.refusal() == "code_needed"
    assert await other.refusal(code=totp.at(int(clock.now))) == "sign_in_failed"  # used to confirm
    clock.now += 30
    assert await other.enter(code=totp.at(int(clock.now)))
    assert await one.refusal(code=totp.at(int(clock.now))) == "sign_in_failed"  # used on the other server
    assert await one.enter(code=recovery[0])
    active = one.people.person(person.id)
    assert active is not None
    for code, refusal in (("", "code_needed"), (recovery[0], "sign_in_failed")):
        with pytest.raises(Unauthorized) as refused:
            await one.sign_in.remove_second_factor(active, code)
        assert refused.value.code == refusal
    await one.sign_in.remove_second_factor(active, recovery[1])
    assert await other.enter()


async def test_a_code_brings_back_no_rights_or_password_that_another_server_changes(
    two: tuple[Server, Server], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    person = await one.add(roles={"a.example": "admin"})
    totp = pyotp.TOTP((await one.sign_in.begin_second_factor(person)).secret)
    await one.sign_in.confirm_second_factor(person, totp.at(int(clock.now)))
    lower = Rights(roles={"a.example": Role.VIEWER})
    clock.now += 30

    async def meanwhile() -> None:
        """What server one has read is old when it writes."""

    await one.people.load()
    await other.people.change(
        person.id, lambda each: msgspec.structs.replace(each, rights=lower, password_hash="new", sessions_from_ms=7)
    )
    monkeypatch.setattr(one.people, "load", meanwhile)
    used = await one.sign_in._used_code(person, totp.at(int(clock.now)))
    monkeypatch.undo()
    await other.people.load()
    now = other.people.person(person.id)
    assert now is not None
    assert (now.rights, now.password_hash, now.sessions_from_ms) == (lower, "new", 7)
    assert now.second_factor == used.second_factor
    await other.people.remove(person.id)
    await one.people.load()
    assert one.people.all() == []


async def test_a_second_factor_that_can_not_be_read_is_asked_for(two: tuple[Server, Server], migrated: Store) -> None:
    one, _ = two
    person = await one.add()
    row: list[list[object]] = [["second_factor"], [person.id], ["{"], [0], [datetime(2026, 1, 1, tzinfo=UTC)]]
    await migrated.insert("people", ("kind", "id", "document", "deleted", "updated_at"), row)
    assert await one.refusal() == "code_needed"
    await one.people.change(person.id, lambda each: msgspec.structs.replace(each, second_factor=None))
    assert await one.enter()


async def test_an_invitation_makes_a_person_once(two: tuple[Server, Server], clock: Clock) -> None:
    one, other = two
    rights = Rights(roles={"a.example": Role.VIEWER})
    _, secret = await one.people.invite(EMAIL, rights=rights, life_s=60.0)
    assert (await other.sign_in.accept(secret, PASSWORD, "Anna", "192.0.2.1")).person.rights == rights
    assert await one.enter()
    with pytest.raises(AnalyticsError, match="used"):
        await one.sign_in.accept(secret, PASSWORD, "", "192.0.2.1")
    _, late = await one.people.invite("ben@example.org", rights=rights, life_s=60.0)
    clock.now += 60
    with pytest.raises(AnalyticsError, match="ended"):
        await one.sign_in.accept(late, PASSWORD, "", "192.0.2.1")


async def test_open_invitations_are_bounded_and_ended_ones_deleted(
    two: tuple[Server, Server], migrated: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics_server.access.people.accounts.MOST_INVITATIONS_OF_ONE", 2)
    monkeypatch.setattr("analytics_server.access.people.accounts.MOST_INVITATIONS", 3)
    one, other = two
    rights = Rights(roles={"a.example": Role.VIEWER})
    for inviter, server in (("anna", one), ("anna", other), ("ben", one)):
        await server.people.invite(EMAIL, rights=rights, life_s=60.0, created_by=inviter)
    for inviter in ("anna", "ben", "carl"):
        with pytest.raises(Conflict) as refused:
            await other.people.invite(EMAIL, rights=rights, life_s=60.0, created_by=inviter)
        assert refused.value.code == "too_many"
    await one.people.invite(EMAIL, rights=rights, life_s=120.0)  # by the command line

    clock.now += 60
    await other.people.delete_expired()
    alive = await migrated.query("SELECT count() FROM people FINAL WHERE deleted = 0")
    assert str(alive.rows[0][0]) == "1"
    await one.people.invite(EMAIL, rights=rights, life_s=60.0, created_by="anna")


async def test_an_invitation_to_an_account_needs_its_password(two: tuple[Server, Server]) -> None:
    one, _ = two
    await one.add(roles={"a.example": "admin"})
    _, secret = await one.people.invite(EMAIL, rights=Rights(roles={"b.example": Role.VIEWER}), life_s=60.0)
    with pytest.raises(Unauthorized):
        await one.sign_in.accept(secret, "another password", "", "192.0.2.1")
    widened, _ = await one.sign_in.accept(secret, PASSWORD, "", "192.0.2.1")
    assert widened.rights.roles == {"a.example": Role.ADMIN, "b.example": Role.VIEWER}


async def test_an_invitation_takes_no_role_away_and_ends_the_others(two: tuple[Server, Server]) -> None:
    one, other = two
    await one.add(roles={"a.example": "admin"})
    rights = Rights(roles={"a.example": Role.VIEWER, "b.example": Role.EDITOR})
    links = [(await one.people.invite(EMAIL, rights=rights, life_s=60.0))[1] for _ in range(2)]
    widened, _ = await other.sign_in.accept(links[0], PASSWORD, "", "192.0.2.1")
    assert widened.rights.roles == {"a.example": Role.ADMIN, "b.example": Role.EDITOR}
    with pytest.raises(NotFound):
        await one.sign_in.accept(links[1], PASSWORD, "", "192.0.2.1")


async def test_an_invitation_is_worth_what_its_maker_may_still_give(two: tuple[Server, Server]) -> None:
    one, other = two
    rights = Rights(roles={"a.example": Role.ADMIN})
    inviter = await one.people.add("carl@example.org", name="", rights=rights, password_hash="x")
    _, secret = await one.people.invite(EMAIL, rights=rights, life_s=60.0, created_by=inviter.id)
    lower = Rights(roles={"a.example": Role.EDITOR})
    await one.people.change(inviter.id, lambda each: msgspec.structs.replace(each, rights=lower))
    for _ in range(2):
        with pytest.raises(NotFound, match="any more"):
            await other.sign_in.accept(secret, PASSWORD, "", "192.0.2.1")
        await one.people.remove(inviter.id)
    assert other.people.by_email(EMAIL) is None


async def test_a_link_works_for_one_of_many_who_use_it_at_once(two: tuple[Server, Server]) -> None:
    one, _ = two
    person = await one.add()
    _, secret = await one.people.invite(EMAIL, resets=person.id, life_s=60.0)
    passwords = [f"{word} green umbrellas" for word in ("eight", "eleven", "twelve")]
    done = await asyncio.gather(
        *(one.sign_in.accept(secret, password, "", "192.0.2.1") for password in passwords), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in done) == ["NotFound", "NotFound", "UsedLink"]


async def test_what_was_taken_away_is_taken_out_of_open_invitations(two: tuple[Server, Server]) -> None:
    one, other = two
    roles = {"a.example": Role.ADMIN, "b.example": Role.VIEWER}
    for rights in (Rights(roles=roles), Rights(roles={"a.example": Role.VIEWER}), Rights(owner=True, roles=roles)):
        await one.people.invite(EMAIL, rights=rights, life_s=60.0)
    await one.people.invite("ben@example.org", rights=Rights(roles=roles), life_s=60.0)
    await other.people.withdraw(EMAIL, {"a.example"})
    await one.people.load()
    left = {"b.example": Role.VIEWER}
    found = [(each.email, each.rights) for each in one.people.invitations()]
    assert sorted(found, key=str) == sorted(
        [
            (EMAIL, Rights(roles=left)),
            (EMAIL, Rights(owner=True, roles=left)),
            ("ben@example.org", Rights(roles=roles)),
        ],
        key=str,
    )
    await other.people.withdraw(EMAIL)
    assert [each.email for each in other.people.invitations()] == ["ben@example.org"]


async def test_of_two_owners_who_are_deleted_at_once_one_stays(two: tuple[Server, Server]) -> None:
    one, _ = two
    owners = [await one.add(), await one.people.add("b@x.org", name="", rights=Rights(owner=True), password_hash="x")]
    done = await asyncio.gather(*(one.people.remove(each.id) for each in owners), return_exceptions=True)
    assert sorted(type(each).__name__ for each in done) == ["Conflict", "bool"]
    (left,) = one.people.all()
    lower = Rights(roles={"a.example": Role.ADMIN})
    with pytest.raises(Conflict) as refused:
        await one.people.change(left.id, lambda each: msgspec.structs.replace(each, rights=lower))
    assert refused.value.code == "last_owner"


async def test_a_new_password_ends_all_sessions(two: tuple[Server, Server]) -> None:
    one, other = two
    person = await one.add()
    secret = await one.enter()
    await other.sign_in.change_password(person, PASSWORD, "eight yellow bicycles", "192.0.2.1")
    assert await is_over(one, secret)
    assert await one.refusal() == "sign_in_failed"
    _, reset = await one.people.invite(EMAIL, resets=person.id, life_s=60.0)
    await one.sign_in.accept(reset, PASSWORD, "", "192.0.2.1")
    assert await other.enter()


async def test_a_new_password_ends_sign_ins_that_are_under_way(
    two: tuple[Server, Server], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old password was right when it was looked at."""
    one, other = two
    person = await one.add()
    is_right = one.sign_in.passwords.is_right

    async def slowly(password: str, hash_: str) -> bool:
        found = await is_right(password, hash_)
        clock.now += 1
        await other.sign_in.change_password(person, PASSWORD, "eight yellow bicycles", "192.0.2.1")
        clock.now += 1
        return found

    monkeypatch.setattr(one.sign_in.passwords, "is_right", slowly)
    secret = await one.enter()
    assert await is_over(one, secret)
    assert not await is_over(one, await other.enter("eight yellow bicycles"))


async def test_who_has_no_role_left_is_gone(two: tuple[Server, Server]) -> None:
    one, other = two
    person = await one.add(roles={"a.example": "viewer"})
    secret = await one.enter()
    await other.people.change(person.id, lambda each: msgspec.structs.replace(each, rights=Rights()))
    assert await is_over(one, secret)
    assert one.people.all() == []
    await one.add()
    with pytest.raises(Conflict):
        await other.add()
