"""What the report's lists are made of: classes of data, how long something is kept, tables and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class DataClass(StrEnum):
    """How near a field is to a person. `about` says it in a sentence."""

    about: str

    def __new__(cls, value: str, about: str = "") -> DataClass:
        member = str.__new__(cls, value)
        member._value_ = value
        member.about = about
        return member

    PERSONAL = (
        "personal",
        "It names a person: your application's own id, where it sends one; of people who sign in here, name and mail.",
    )
    PSEUDONYMOUS = (
        "pseudonymous",
        "It tells visitors, sessions or people apart while it is stored; it identifies no person by itself.",
    )
    CONTENT = "content", "Text of your pages and application: it holds a person's data only if you put some there."
    ATTRIBUTE = "attribute", "It describes a session or an event."
    TECHNICAL = "technical", "Counts, keys and times that the program needs."


class KeptFor(StrEnum):
    """How long something is kept, as far as settings decide it. All else is told in words."""

    EVENTS = "events"
    """As the site's events are."""

    TOTALS = "totals"
    """As the site's totals of days are, at least as long as its events."""

    AUDIT = "audit"
    """As `[privacy] audit_retention_days` says."""


DAYS_30 = "30 days"
HOURS_48 = "48 hours at most"
ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A table: why it is there, how long its rows are kept, and its columns with a sentence and a class each.

    `kept`: one of `KeptFor`, or words. `of_server`: are its rows of the whole server, not of one site?
    """

    name: str
    purpose: str
    kept: str
    columns: Mapping[str, tuple[DataClass, str]]
    of_server: bool = False


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Files beside the tables: where, what they hold, how near that is to a person, and for how long.

    `path`: a pattern, relative to the data directory. `kept`: as of tables.
    """

    path: str
    holds: str
    data_class: DataClass
    kept: str
    of_server: bool = True
