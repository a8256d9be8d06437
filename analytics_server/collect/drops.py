"""Why an accepted event isn't kept: the one list of reasons, each with its sentence.

The values are the keys of `dropped` in the answer to a beacon and the label of the
metric that counts drops, so they are stable. A drop is a value, never an exception.
"""

from __future__ import annotations

from enum import StrEnum


class DropReason(StrEnum):
    """A reason; `about` is the sentence the documentation shows."""

    about: str

    def __new__(cls, value: str, about: str = "") -> DropReason:
        member = str.__new__(cls, value)
        member._value_ = value
        member.about = about
        return member

    BOT = "bot", "The user agent is a crawler, a headless browser, an HTTP library, or empty."
    PREFETCH = "prefetch", "The browser loaded the page ahead of time and nobody has seen it."
    DNT = "dnt", "The browser asked not to be tracked (header DNT: 1)."
    GPC = "gpc", "The browser sent Global Privacy Control (header Sec-GPC: 1)."
    HOSTNAME = "hostname", "The page's hostname is not among the site's allowed hosts."
    SPAM_REFERRER = "spam_referrer", "The referrer is a known source of referrer spam."
    DUPLICATE = "duplicate", "An event with the same event_id was already accepted."
