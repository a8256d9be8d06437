"""E-mail addresses: the one spelling that a person is known by, and the form in which mail is sent to them.

An international domain is sent as its ASCII form (RFC 5891), which every mail server takes. What a mail server or a
header could read as anything else than one address is not sent to at all.
"""

from __future__ import annotations

import re

import idna

from analytics_server.errors import RequestError

EMAIL_CHARS = 254
_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,190}")
_ATOM = r"[\w!#$%&'*+/=?^`{|}~-]+"
_LOCAL = re.compile(rf"{_ATOM}(\.{_ATOM})*")
"""A dot-atom (RFC 5322, 3.2.3), of letters of any script (RFC 6532)."""
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")


def valid_email(text: str) -> str:
    """The address in its one spelling. Raises `RequestError` (bad_email)."""
    email = text.strip().lower()
    if len(email) > EMAIL_CHARS or not _EMAIL.fullmatch(email):
        raise RequestError("email is no e-mail address: write it as anna@example.com.", code="bad_email")
    return email


def mail_address(text: str) -> str | None:
    """The address as mail is sent to it: its domain in ASCII. None where no mail can be sent to it."""
    local, _, domain = text.strip().rpartition("@")
    if not _LOCAL.fullmatch(local):
        return None
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            return None
    address = f"{local}@{domain}"
    return address if _DOMAIN.fullmatch(domain) and len(address.encode()) <= EMAIL_CHARS else None
