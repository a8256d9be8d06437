"""Audit entries of requests: who, which action, on what, with what outcome.

What is recorded holds no secret, no address, no user agent and no text of a question: only its hash. Where entries go
is the application's to say, which hands in a `Recorder`: this layer lies below the audit log and must not import it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
from aiohttp import web

from analytics_server.errors import AnalyticsError
from analytics_server.http.authorization import Caller

OK = "ok"
CANCELLED = "cancelled"
CRASHED = "internal_error"
NOT_SHOWN = "(not shown)"
SHOWN_CHARS = 128
_UNSHOWABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\s]|(?i:as[ist]_)")
"""Control characters, spaces, and the beginning of a token: a client may put one where an id belongs."""


WHOLE_SERVER = ""
"""Instead of a site: what concerns the server, and not single sites."""

SiteDetails = Mapping[str, Mapping[str, str]]
"""What the audit entry of each site says besides: of this site alone, as who manages it reads the entry."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was done or refused.

    `principal_kind`: `token`, `person`, …, `internal` for commands and the server itself; empty where the caller was
    not authenticated. `operation`: the endpoint's name, which says more than its action. `outcome`: `ok`, or the code
    of the error. `rows`: how many were answered, removed or exported, None where that isn't known. `query_hash`:
    SHA-256 of what was asked, hex.
    """

    action: str
    operation: str = ""
    outcome: str = OK
    principal_kind: str = ""
    principal_id: str = ""
    principal_name: str = ""
    site_id: str = ""
    resource: str = ""
    rows: int | None = None
    query_hash: str = ""
    details: Mapping[str, str] = {}


class Recorder(Protocol):
    """Takes audit entries: the audit log."""

    def note(self, entry: AuditEntry) -> None:
        """Record an entry soon, in the background. Never waits, never fails."""

    async def append(self, entry: AuditEntry) -> None:
        """Record an entry; durable afterwards. Raises `AuditUnavailable`."""


async def append_all(recorder: Recorder, entries: Sequence[AuditEntry]) -> None:
    """Record entries, which are written together; durable afterwards. Raises `AuditUnavailable`."""
    if len(entries) == 1:
        await recorder.append(entries[0])
    else:
        await asyncio.gather(*map(recorder.append, entries))


def principal_of(caller: object) -> tuple[str, str, str]:
    """Kind, id and name of an authenticated caller: the one place that knows how principals are told apart."""
    id_ = getattr(caller, "id", "") or getattr(caller, "token_id", "")
    return str(getattr(caller, "kind", "token")), str(id_), str(getattr(caller, "name", ""))


def shown_id(text: str) -> str:
    """An id as an entry may hold it: a text that may be a secret, or is none of ours, is left out."""
    return NOT_SHOWN if len(text) > SHOWN_CHARS or _UNSHOWABLE.search(text) else text


def outcome_of(error: BaseException) -> str:
    """What an entry says of a call that failed."""
    if isinstance(error, AnalyticsError):
        return error.code
    if isinstance(error, asyncio.CancelledError):
        return CANCELLED
    return f"http_{error.status}" if isinstance(error, web.HTTPException) else CRASHED


def hash_of(asked: bytes) -> str:
    """The hash of what was asked; empty for nothing."""
    return hashlib.sha256(asked).hexdigest() if asked else ""


class AuditTrail:
    """What is known of one call so far: filled in on its way, an entry at its end."""

    __slots__ = (
        "action",
        "asked",
        "body",
        "caller",
        "details",
        "in_background",
        "outcome",
        "resource",
        "rows",
        "site_details",
        "site_id",
        "site_rows",
        "sites",
    )

    def __init__(self) -> None:
        self.caller: Caller | None = None
        self.action = ""
        """What was done, where it is another action than the endpoint's: the handler says so."""
        self.asked = b""
        self.body = b""
        """As far as it was read."""
        self.site_id = ""
        self.sites: tuple[str, ...] = ()
        """Of a call about several sites: all of them. Each has an entry, so that who manages one sees it;
        `WHOLE_SERVER` may be among them."""
        self.resource = ""
        self.rows: int | None = None
        self.site_rows: Mapping[str, int] = {}
        """Of a call about several sites: the rows of each, where they can be told apart."""
        self.details: dict[str, str] = {}
        self.site_details: SiteDetails = {}
        """Of a call about several sites: what the entry of each says besides."""
        self.outcome = OK
        """Of a call that is answered; an error's code where the answer, in a protocol of its own, is a refusal."""
        self.in_background = False
        """Of a public route: may its entry be written after the answer? Where anyone may call it at will."""

    def entry(self, action: str, operation: str, outcome: str) -> AuditEntry:
        """The entry of the call."""
        kind, id_, name = ("", "", "") if self.caller is None else principal_of(self.caller)
        return AuditEntry(
            action=self.action or action,
            operation=operation,
            outcome=outcome,
            principal_kind=kind,
            principal_id=id_,
            principal_name=name,
            site_id=shown_id(self.site_id),
            resource=shown_id(self.resource),
            rows=self.rows,
            query_hash=hash_of(self.asked),
            details=self.details,
        )

    def entries(self, action: str, operation: str, outcome: str) -> list[AuditEntry]:
        """The entry of the call, or one for each of its sites: it says nothing of the other sites."""
        entry = self.entry(action, operation, outcome)
        return [
            msgspec.structs.replace(
                entry,
                site_id=shown_id(site),
                rows=self.site_rows.get(site),
                details={**self.details, **self.site_details.get(site, {})},
            )
            for site in self.sites
        ] or [entry]

    def tell_sites(self, details: SiteDetails) -> None:
        """The call was about these sites, and what the entry of each says besides."""
        self.sites, self.site_details = tuple(details), details


def rows_of(result: object) -> int | None:
    """How many rows an answer holds, where it has a list of them."""
    found = getattr(result, "results", None)
    if found is None:
        found = getattr(result, "rows", None)
    return len(found) if isinstance(found, list | tuple) else None
