"""Password reset: a link is made and mailed in the background to the account of the address that was given.

The answer says nothing of the address, nor does its time: it is given before anything is looked up. Requests are
counted by the client's address (429), and by account without telling, in memory that never grows; those that wait are
bounded too. There is a link only for an account with a password: who comes through a provider has none to forget.

Metrics count requests, whether there is such an account or not, and no messages: anyone may read them. For the same
reason a message that could not be sent counts as one to its account. A link by mail goes on working until the mail
server has taken the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter

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
    """Takes requests; `run` is a task to own. `link_of`: the page's address of a secret, from `public_url` alone."""

    def __init__(
        self,
        people: Accounts,
        mailer: Mailer,
        settings: MailSection,
        *,
        window_s: float,
        server: str,
        link_of: Callable[[str], str],
        by_password: bool = True,
        registry: CollectorRegistry | None = None,
    ) -> None:
        """`by_password` false: people come through a provider only."""
        self._people = people
        self._mailer = mailer
        self._settings = settings
        self._by_account = AttemptCounter(settings.messages_per_recipient, window_s)
        self._by_address = AttemptCounter(settings.resets_per_address, window_s, _REFUSAL)
        self._server = server
        self._link_of = link_of
        self._by_password = by_password
        self._waiting = asyncio.Queue[str](settings.most_waiting)
        self.counter = Counter(
            "password_reset_requests_total",
            "Requests for new passwords, of accounts that exist and of others: accepted, or repeated too often.",
            ["outcome"],
            registry=registry or CollectorRegistry(),
        )
        for outcome in ("accepted", "repeated"):
            self.counter.labels(outcome)

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
            self._by_account.take(email)
        except TooManyAttempts:
            self.counter.labels("repeated").inc()
            return
        self.counter.labels("accepted").inc()
        try:
            self._waiting.put_nowait(email)
        except asyncio.QueueFull:  # not in the metrics: how fast others are done depends on who has an account
            log.warning("a request for a new password was dropped: too many wait")

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
        made, secret = await self._people.invite(person.email, resets=person.id, life_s=life_s, created_by=BY_MAIL)
        text = reset_text(self._server, self._link_of(secret), life_s)
        await self._mailer.send(person.email, text, is_counted=False)
        await self._people.forget_resets(person.id, made_by=BY_MAIL, but=made.id)
