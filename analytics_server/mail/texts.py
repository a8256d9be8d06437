"""Texts of messages: short, plain, with the link on a line of its own and nothing that counts openings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MailText:
    """Subject and body. `kind`: as the log names it."""

    kind: str
    subject: str
    body: str


def reset_text(server: str, link: str, life_s: float) -> MailText:
    """The link by which a password is set anew."""
    return MailText(
        kind="reset",
        subject="Set a new password",
        body=(
            f"A new password was asked for, for your account at {server}.\n\n"
            f"Choose one within {_span(life_s)} by this link, which works once:\n\n{link}\n\n"
            "It signs you out everywhere. If you did not ask for it, do nothing: your password stays.\n"
        ),
    )


def invitation_text(server: str, link: str, life_s: float) -> MailText:
    """The link of an invitation."""
    return MailText(
        kind="invitation",
        subject="Your invitation to web analytics",
        body=(
            f"You are invited to see the numbers at {server}.\n\n"
            f"Accept within {_span(life_s)} by this link, which works once:\n\n{link}\n\n"
            "If you expected no invitation, do nothing.\n"
        ),
    )


def trial_text(server: str) -> MailText:
    """What `analytics-server mail test` sends."""
    return MailText(
        kind="test", subject="A test of the mail settings", body=f"Messages of the server at {server} arrive here.\n"
    )


def _span(seconds: float) -> str:
    for name, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}" if count == 1 else f"{count} {name}s"
    return "a minute"
