"""Hands messages to the mail server of `[mail]`, one connection a message.

Its certificate is verified, against the machine's authorities. With `tls = "starttls"` nothing is sent where the server
does not offer it. A message has `timeout_s` for everything, the wait for others included; whether the server's farewell
comes after it has taken the message does not count. Neither the log nor an error holds an address, a link, the password
or what the server says, as it may repeat them: it holds the kind of the failure and the server's code.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import ssl
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8

import aiosmtplib
from prometheus_client import CollectorRegistry, Counter

from analytics_server.errors import AnalyticsError, ConfigError
from analytics_server.mail.texts import MailText
from analytics_server.settings.sections import MailSection
from analytics_server.spelling.email_address import mail_address

log = logging.getLogger(__name__)

AT_ONCE = 2
"""Connections to the mail server at once."""
FAREWELL_S = 2.0


class MailNotSent(AnalyticsError):
    """The mail server was not reached, or did not take the message."""

    code = "mail_not_sent"
    status = 502
    log_level = logging.WARNING


class Mailer:
    """The way to the mail server; off where `[mail] host` is empty."""

    def __init__(self, settings: MailSection, registry: CollectorRegistry | None = None) -> None:
        self._settings = settings
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self.counter = Counter(
            "mail_messages_total",
            "Invitations by mail: taken by the mail server, refused by it or not delivered to it, or not tried.",
            ["outcome"],
            registry=registry or CollectorRegistry(),
        )
        for outcome in ("sent", "failed", "dropped"):
            self.counter.labels(outcome)

    @property
    def is_on(self) -> bool:
        """Is there a mail server?"""
        return bool(self._settings.host)

    async def send(self, recipient: str, text: MailText, *, is_counted: bool = True) -> None:
        """Send it; taken by the mail server afterwards. Raises `MailNotSent`, and logs that.

        `is_counted` false: of a message whose number would tell who has an account.
        """
        outcome = "failed"
        try:
            if self._waiting >= self._settings.most_waiting:
                outcome = "dropped"
                raise MailNotSent("Too many messages wait for the mail server.")
            self._waiting += 1
            try:
                await self._send_in_time(recipient, text)
            finally:
                self._waiting -= 1
            outcome = "sent"
        except MailNotSent as error:
            log.warning("a message was not sent", extra={"message_kind": text.kind, "reason": error.message})
            raise
        finally:
            if is_counted:
                self.counter.labels(outcome).inc()

    async def _send_in_time(self, recipient: str, text: MailText) -> None:
        try:
            async with asyncio.timeout(self._settings.timeout_s), self._turns:
                await self._send(recipient, text)
        except TimeoutError as error:
            raise MailNotSent(_reason(error)) from None

    async def _send(self, recipient: str, text: MailText) -> None:
        if not self.is_on:
            raise MailNotSent("There is no mail server: set [mail] host.")
        address, settings = mail_address(recipient), self._settings
        if address is None:
            raise MailNotSent("The address is none that mail can be sent to.")
        message, sender = _message(settings.sender, address, text), _plain(settings.sender)
        client = await self._client(sender)
        try:
            await client.connect()
            await client.send_message(message, sender=sender, recipients=[address])
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
            raise MailNotSent(_reason(error)) from None  # what it says and holds may name a person
        finally:
            with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
                async with asyncio.timeout(FAREWELL_S):
                    if client.is_connected:
                        await client.quit()
            client.close()

    async def _client(self, sender: str) -> aiosmtplib.SMTP:
        settings = self._settings
        try:
            password = await asyncio.to_thread(settings.secret)
        except ConfigError as error:
            raise MailNotSent(error.message) from None
        context = None if settings.tls == "none" else await asyncio.to_thread(ssl.create_default_context)
        return aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.user or None,
            password=password or None,
            local_hostname=sender.rpartition("@")[2],
            timeout=settings.timeout_s,
            use_tls=settings.tls == "tls",
            start_tls=settings.tls == "starttls",
            tls_context=context,
        )


def _plain(sender: str) -> str:
    return mail_address(sender) or sender


def _message(sender: str, recipient: str, text: MailText) -> EmailMessage:
    """A short message of plain text. A header can't be injected: the addresses are checked, and a line break is refused
    by the policy."""
    from_, domain = _plain(sender), _plain(sender).rpartition("@")[2]
    message = EmailMessage(policy=SMTP if f"{from_}{recipient}".isascii() else SMTPUTF8)
    message["From"] = _header(from_)
    message["To"] = _header(recipient)
    message["Subject"] = text.subject
    message["Date"] = datetime.now(UTC)
    message["Message-ID"] = f"<{secrets.token_hex(16)}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text.body, cte="7bit" if text.body.isascii() else "8bit")  # the link stays in one piece
    return message


def _header(address: str) -> Address:
    local, _, domain = address.rpartition("@")
    return Address(username=local, domain=domain)


def _reason(error: BaseException) -> str:
    """What went wrong, by its kind and the server's code alone."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = sorted({str(one.code) for one in error.recipients})
        return f"The mail server refused the recipient ({', '.join(codes)})."
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return f"The mail server refused [mail] user and password ({error.code})."
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"The mail server refused the message ({error.code})."
    if isinstance(error, TimeoutError):  # aiosmtplib's are such too
        return "The mail server took longer than [mail] timeout_s."
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"The mail server's certificate is not valid: {cause.verify_message}."
        if isinstance(cause, ssl.SSLError):
            return f"The mail server does not speak TLS as it should ({cause.reason})."
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, aiosmtplib.SMTPConnectError | OSError):
        return "The mail server can't be reached."
    return f"The mail server did not do as it should ({type(error).__name__})."
