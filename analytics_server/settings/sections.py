"""Sections of the settings that can contradict themselves: `[oidc]` and `[mail]`, with what is checked of each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from analytics_server.errors import ConfigError
from analytics_server.settings.types import NotNegative, Positive, Section
from analytics_server.spelling.email_address import mail_address
from analytics_server.spelling.host_names import is_loopback

OIDC_ISSUER = re.compile(r"(https://[^\s/?#@]+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?)(/[^\s?#]*)?")
OIDC_ROLE = re.compile(r"[^=\s][^=]*=(owner|(viewer|editor|admin)@\S+)")
MAIL_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:]+")
SECRET_BYTES = 4_096


class OidcSection(Section, frozen=True, kw_only=True):
    """Signing in through a provider."""

    issuer: str = ""
    client_id: str = ""
    client_secret: str = ""
    name: str = "single sign-on"
    scopes: str = "openid email profile"
    role_claim: str = "groups"
    roles: tuple[str, ...] = ()
    only: bool = False
    clock_skew_s: NotNegative = 60


class MailSection(Section, frozen=True, kw_only=True):
    """The mail server, and bounds of what is sent by it."""

    host: str = ""
    port: Annotated[int, Meta(ge=1, le=65535)] = 587
    tls: Literal["none", "starttls", "tls"] = "starttls"
    user: str = ""
    password: str = ""
    password_file: str = ""
    sender: str = ""
    timeout_s: Annotated[float, Meta(gt=0, le=600)] = 20.0
    reset_s: Annotated[int, Meta(ge=60, le=86_400)] = 1_800
    messages_per_recipient: Positive = 5
    resets_per_address: Positive = 20
    most_waiting: Annotated[int, Meta(ge=1, le=10_000)] = 100

    def secret(self) -> str:
        """The password, read from its file if it lies in one. Raises `ConfigError`."""
        if not self.password_file:
            return self.password
        try:
            with Path(self.password_file).expanduser().open("rb") as file:
                text = file.read(SECRET_BYTES).decode().strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigError(f"[mail] password_file = {self.password_file!r} can't be read: {reason}.") from error
        if not text:
            raise ConfigError(f"[mail] password_file = {self.password_file!r} is empty: write the password into it.")
        return text


def check_oidc(oidc: OidcSection, public_url: str) -> None:
    """Raises `ConfigError`."""
    if not oidc.issuer:
        if oidc.only:
            raise ConfigError("[oidc] only = true needs [oidc] issuer: sign-in would be impossible.")
        return
    if not OIDC_ISSUER.fullmatch(oidc.issuer):
        raise ConfigError(
            f"[oidc] issuer = {oidc.issuer!r} is no address of a provider: write it as https://id.example.com, exactly "
            "as the provider does (plain http only for one on this machine)."
        )
    if not oidc.client_id:
        raise ConfigError("[oidc] issuer needs [oidc] client_id: what the provider knows this server as.")
    if not public_url:
        raise ConfigError("[oidc] issuer needs [server] public_url: browsers come back to it from the provider.")
    for entry in oidc.roles:
        if not OIDC_ROLE.fullmatch(entry):
            raise ConfigError(
                f"[oidc] roles has {entry!r}: write GROUP=owner, or GROUP=ROLE@SITE with viewer, editor or admin."
            )


def check_mail(mail: MailSection, public_url: str) -> None:
    """Raises `ConfigError`; no message holds the password."""
    if not mail.host:
        return
    if not MAIL_HOST.fullmatch(mail.host):
        raise ConfigError(f"[mail] host = {mail.host!r} is no host: write it as smtp.example.com, the port apart.")
    if not public_url:
        raise ConfigError("[mail] host needs [server] public_url: the links in messages lead there.")
    if mail_address(mail.sender) is None:
        raise ConfigError(f"[mail] sender = {mail.sender!r} is no e-mail address: write it as stats@example.com.")
    if mail.password and mail.password_file:
        raise ConfigError("[mail] has a password and a password_file: leave one out.")
    if bool(mail.user) != bool(mail.password or mail.password_file):
        raise ConfigError("[mail] user needs a password or a password_file, and either of them needs a user.")
    if mail.tls == "none" and not is_loopback(mail.host):
        raise ConfigError(
            '[mail] tls = "none" would send links that set passwords in the clear: use "starttls" or "tls", or a mail'
            " server on this machine that passes messages on."
        )
    mail.secret()
