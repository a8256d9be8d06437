"""Links for new passwords: for whom there is one, for how long, and how many wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from analytics_server.access.people.accounts import Account, Accounts, Rights, invitation_link
from analytics_server.access.people.attempts import TooManyAttempts
from analytics_server.access.people.resets import PasswordResets
from analytics_server.errors import Forbidden
from analytics_server.mail.mailer import Mailer
from analytics_server.settings.sections import MailSection
from analytics_server.store import Store
from tests.mail.smtp import SmtpServer, running
from tests.server import wait_for

OWNER = Rights(owner=True)
HERE = "https://stats.example"
WINDOW_S = 1e9
"""No other begins meanwhile."""


@pytest.fixture(scope="module")
def smtp() -> Iterator[SmtpServer]:
    with running(SmtpServer()) as server:
        yield server


class World:
    """Accounts and their resets; `now_s`: the clock."""

    def __init__(self, store: Store, smtp: SmtpServer, **settings: Any) -> None:
        self.now_s = 1_790_000_000.0
        self.smtp = smtp
        smtp.taken.clear()
        self.people = Accounts(store, clock=lambda: self.now_s)
        self.mail = MailSection(host="127.0.0.1", port=smtp.port, tls="none", sender="stats@example.com", **settings)
        self.mailer = Mailer(self.mail)
        self.resets = PasswordResets(
            self.people,
            self.mailer,
            self.mail,
            window_s=WINDOW_S,
            server=HERE,
            link_of=partial(invitation_link, HERE),
        )

    async def add(self, email: str, password_hash: str = "some hash") -> Account:
        return await self.people.add(email, name="", rights=OWNER, password_hash=password_hash, identity=f"id {email}")

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.resets.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def links(self, count: int) -> list[str]:
        async def arrived() -> bool:
            return len(self.smtp.taken) >= count

        await wait_for(arrived, 60, f"{count} messages")
        return [taken.link.partition("=")[2] for taken in self.smtp.taken]


async def test_there_is_a_link_only_for_an_account_with_a_password(migrated: Store, smtp: SmtpServer) -> None:
    world = World(migrated, smtp)
    await world.add("by-provider@example.org", "")
    anna = await world.add("anna@example.org")
    async with world.working():
        for email in ("nobody@example.org", "by-provider@example.org", "anna@example.org"):
            world.resets.request(email, "address")
        (link,) = await world.links(1)
    assert [taken.recipient for taken in smtp.taken] == ["anna@example.org"]
    found = await world.people.invitation_of(link)
    assert found is not None
    assert found.resets == anna.id


async def test_a_link_works_for_half_an_hour_and_until_there_is_a_newer_one(migrated: Store, smtp: SmtpServer) -> None:
    world = World(migrated, smtp)
    anna = await world.add("anna@example.org")
    _, printed = await world.people.invite(anna.email, resets=anna.id, life_s=86_400)  # by the command line
    async with world.working():
        world.resets.request(anna.email, "address")
        (first,) = await world.links(1)
        world.now_s += 1_799
        assert await world.people.invitation_of(first) is not None
        world.now_s += 1
        assert await world.people.invitation_of(first) is None
        for number in (2, 3):
            world.resets.request(anna.email, "address")
            links = await world.links(number)
        for link in links[:2]:
            await wait_for(partial(_is_over, world, link), 60, "the end of an older link")
    assert await world.people.invitation_of(links[2]) is not None
    assert await world.people.invitation_of(printed) is not None, "a stranger can't end what an operator has printed"
    await world.people.forget_resets(anna.id)
    assert [await world.people.invitation_of(link) for link in (links[-1], printed)] == [None, None]


async def test_a_link_works_on_where_the_next_message_is_not_taken(migrated: Store, smtp: SmtpServer) -> None:
    world = World(migrated, smtp)
    anna = await world.add("anna@example.org")
    async with world.working():
        world.resets.request(anna.email, "address")
        (first,) = await world.links(1)
        smtp.fault = "recipient"
        try:
            refused = len(smtp.heard)
            world.resets.request(anna.email, "address")
            await wait_for(lambda: _heard(smtp, refused, "RCPT"), 60, "the refusal")
            # One after the other: the next is begun when this one is done.
            world.resets.request("nobody@example.org", "address")
            await wait_for(lambda: _is_idle(world), 60, "an empty queue")
        finally:
            smtp.fault = ""
        assert await world.people.invitation_of(first) is not None
        world.resets.request(anna.email, "address")
        _, second = await world.links(2)
        await wait_for(lambda: _is_over(world, first), 60, "the end of the older link")
    assert await world.people.invitation_of(second) is not None


async def _heard(smtp: SmtpServer, since: int, verb: str) -> bool:
    return any(line.startswith(verb) for line in smtp.heard[since:])


async def _is_idle(world: World) -> bool:
    return world.resets._waiting.empty()


async def _is_over(world: World, link: str) -> bool:
    return await world.people.invitation_of(link) is None


async def test_so_many_may_ask_and_wait_and_one_more_is_dropped_untold(migrated: Store, smtp: SmtpServer) -> None:
    world = World(migrated, smtp, most_waiting=2, messages_per_recipient=2, resets_per_address=4)
    for number in range(4):
        world.resets.request(f"{number}@example.org", "address")
    assert world.resets.counter.labels("accepted")._value.get() == 4, "those that find no room are not told of"
    with pytest.raises(TooManyAttempts):
        world.resets.request("4@example.org", "address")
    world.resets.request("4@example.org", "another address")


async def test_where_people_come_through_a_provider_only_or_there_is_no_mail_nobody_asks(
    migrated: Store, smtp: SmtpServer
) -> None:
    world = World(migrated, smtp)
    for mail, by_password, code in ((world.mail, False, "only_oidc"), (MailSection(), True, "mail_off")):
        resets = PasswordResets(
            world.people,
            Mailer(mail),
            mail,
            window_s=1.0,
            server=HERE,
            link_of=str,
            by_password=by_password,
        )
        assert not resets.is_on
        with pytest.raises(Forbidden) as refused:
            resets.request("anna@example.org", "address")
        assert refused.value.code == code
