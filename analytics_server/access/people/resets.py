"""Forgotten passwords: who asks by an address gets a link by mail, made and sent in the background.

The answer says nothing of the address, nor does its time: it is given before anything is looked up. Requests are
counted by the client's address (429), and by account without telling, in memory that never grows; those that wait are
bounded too. There is a link only for an account with a password: who comes through a provider has none to forget.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from analytics_server.access.people.accounts import Accounts
from analytics_server.access.people.attempts import AttemptCounter, TooManyAttempts
from analytics_server.errors import Conflict, Forbidden, StoreError
from analytics_server.mail.mailer import Mailer, MailNotSent
from analytics_server.mail.texts import reset_text
from analytics_server.settings.sections import MailSection

log = logging.getLogger(__name__)

BY_MAIL = "mail"
"""Who made such a link, as it is stored."""
_REFUSAL = "Too many new passwords were asked for from this address: wait, then try again."


class PasswordResets:
    """Takes requests; `run` is a task to own. `link_of`: the page's address of a secret, from `public_url` alone.

    `by_recipient`: counts messages, by account.
    """

    def __init__(
        self,
        people: Accounts,
        mailer: Mailer,
        settings: MailSection,
        by_recipient: AttemptCounter,
        *,
        window_s: float,
        server: str,
        link_of: Callable[[str], str],
        by_password: bool = True,
    ) -> None:
        """`by_password` false: people come through a provider only."""
        self._people = people
        self._mailer = mailer
        self._settings = settings
        self._by_recipient = by_recipient
        self._by_address = AttemptCounter(settings.resets_per_address, window_s, _REFUSAL)
        self._server = server
        self._link_of = link_of
        self._by_password = by_password
        self._waiting = asyncio.Queue[str](settings.most_waiting)

    @property
    def is_on(self) -> bool:
        """Can a new password be asked for?"""
        return self._by_password and self._mailer.is_on

    def request(self, email: str, address: str) -> None:
        """Send a link in a moment if there is an account with a password. Raises `TooManyAttempts`, `Forbidden`."""
        if not self._by_password:
            raise Forbidden("People sign in through the provider only ([oidc] only).", code="only_oidc")
        if not self._mailer.is_on:
            raise Forbidden("This server sends no mail: ask an owner for a link.", code="mail_off")
        self._by_address.take(address)
        try:
            self._by_recipient.take(email)
            self._waiting.put_nowait(email)
        except (TooManyAttempts, asyncio.QueueFull):
            self._mailer.counter.labels("dropped").inc()

    async def run(self) -> None:
        """Make and send links until cancelled."""
        while True:
            email = await self._waiting.get()
            try:
                await self._send(email)
            except MailNotSent:
                continue  # it was logged
            except (StoreError, Conflict) as error:
                log.warning("a link for a new password was not made", extra={"reason": error.message[:200]})
            except Exception:
                log.exception("a link for a new password was not sent")

    async def _send(self, email: str) -> None:
        await self._people.load()
        person = self._people.by_email(email)
        if person is None or not person.password_hash:
            return
        life_s = self._settings.reset_s
        await self._people.forget_resets(person.id, made_by=BY_MAIL)
        _, secret = await self._people.invite(person.email, resets=person.id, life_s=life_s, created_by=BY_MAIL)
        await self._mailer.send(person.email, reset_text(self._server, self._link_of(secret), life_s))
