"""The hash chain of the audit log: an entry's canonical text, its hash, and the head that lies beside the data.

The canonical text is JSON without spaces, the members sorted by name, those with their default value left out, in
UTF-8 and nothing escaped that needs no escape. It holds the hash of the entry before, and its own hash is SHA-256 of
it: with the texts the chain can be checked by any JSON library (docs/audit.md). The form never changes for
entries that were written; `version` is there for a later one.

The head, the newest entry's number and hash, lies in a small file in the data directory: without it the removal
of the newest entries would go unnoticed. It is replaced after each batch, and synced.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import msgspec

from analytics_server.http.audit import OK, AuditEntry

log = logging.getLogger(__name__)

FORMAT = 1
FOLDER = "audit"
SERVER_CHAIN = "server"
COMMANDS_CHAIN = "commands"
"""The chains of a data directory. Commands have one of their own, because they may run beside the server."""
ID_BYTES = 8
MOST_TEXT = 500
"""So many characters of a name or a detail are kept."""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class ChainedEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry in its chain. `previous`: the hash of the entry before, empty for the first. Times are UTC."""

    version: int
    server: str
    sequence: int
    at: str
    action: str
    previous: str = ""
    operation: str = ""
    outcome: str = OK
    principal_kind: str = ""
    principal_id: str = ""
    principal_name: str = ""
    site_id: str = ""
    resource: str = ""
    rows: int | None = None
    query_hash: str = ""
    details: dict[str, str] = {}


class ChainHead(msgspec.Struct, frozen=True, kw_only=True):
    """The newest entry of a server's chain; sequence 0 before the first."""

    server: str
    sequence: int = 0
    hash: str = ""


class ChainRow(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it is stored: its canonical text and hash, and what is repeated in columns."""

    server: str
    sequence: int
    at_us: int
    action: str
    site_id: str
    text: str
    hash: str


def canonical(entry: ChainedEntry) -> bytes:
    """The text whose hash is the entry's."""
    return msgspec.json.encode(entry, order="sorted")


def hash_text(text: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(text).hexdigest()


def moment(at_us: int) -> datetime:
    """Microseconds since 1970 as a time."""
    seconds, rest = divmod(at_us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def shown_moment(at_us: int) -> str:
    """A time as entries hold it: `2026-11-29T12:00:00.000001Z`."""
    seconds, rest = divmod(at_us, 1_000_000)
    return f"{_shown_second(seconds)}.{rest:06d}Z"


@lru_cache(1_024)
def _shown_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def chained(head: ChainHead, entry: AuditEntry, at_us: int) -> tuple[ChainRow, ChainHead]:
    """The entry as the next one behind the head, and the head that it makes."""
    linked = ChainedEntry(
        version=FORMAT,
        server=head.server,
        sequence=head.sequence + 1,
        previous=head.hash,
        at=shown_moment(at_us),
        action=entry.action,
        operation=entry.operation,
        outcome=entry.outcome,
        principal_kind=entry.principal_kind,
        principal_id=_plain(entry.principal_id),
        principal_name=_plain(entry.principal_name),
        site_id=_plain(entry.site_id),
        resource=_plain(entry.resource),
        rows=entry.rows,
        query_hash=entry.query_hash,
        details=_plain_details(entry.details),
    )
    text = canonical(linked)
    digest = hash_text(text)
    row = ChainRow(
        server=head.server,
        sequence=linked.sequence,
        at_us=at_us,
        action=linked.action,
        site_id=linked.site_id,
        text=text.decode(),
        hash=digest,
    )
    return row, ChainHead(server=head.server, sequence=linked.sequence, hash=digest)


def _plain(text: str) -> str:
    """Short, on one line, and valid UTF-8."""
    if len(text) > MOST_TEXT or not (text.isascii() and text.isprintable()):
        text = _CONTROL.sub(" ", text)[:MOST_TEXT].encode(errors="replace").decode()
    return text


def _plain_details(details: Mapping[str, str]) -> dict[str, str]:
    return {_plain(name): _plain(value) for name, value in details.items()} if details else {}


class HeadFile:
    """The file that keeps one chain's head. Its calls block: for threads."""

    def __init__(self, data_dir: Path, chain: str) -> None:
        self.path = data_dir / FOLDER / f"{chain}.json"
        self._lock = threading.Lock()
        self._newest = 0

    def read(self) -> ChainHead | None:
        """The head; None where there is no file. Raises `OSError`, `ValueError` for one that is damaged."""
        try:
            body = self.path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(body, type=ChainHead)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ValueError(f"{self.path} is damaged: {error}") from error

    def read_or_make(self) -> ChainHead:
        """The head, that of a new chain where there is none. A damaged file is set aside. Raises `OSError`."""
        try:
            found = self.read()
        except ValueError as error:
            aside = self.path.with_suffix(".damaged")
            os.replace(self.path, aside)
            log.error("the head of the audit log is damaged; a new chain begins", extra={"reason": str(error)})
            found = None
        if found is None:
            found = ChainHead(server=secrets.token_hex(ID_BYTES))
            self.write(found)
        return found

    def write(self, head: ChainHead) -> None:
        """Replace the file; on disk afterwards. A late head does not replace a newer one. Raises `OSError`."""
        with self._lock:
            if head.sequence >= self._newest:
                self._newest = head.sequence
                replace_file(self.path, msgspec.json.encode(head))


def replace_file(path: Path, body: bytes, *, mode: int = 0o644) -> None:
    """Put it there in one step; on disk afterwards. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with open(fresh, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def known_heads(data_dir: Path) -> list[ChainHead]:
    """The heads that lie in a data directory; one that can't be read is left out."""
    found = []
    for chain in (SERVER_CHAIN, COMMANDS_CHAIN):
        with contextlib.suppress(OSError, ValueError):
            head = HeadFile(data_dir, chain).read()
            if head is not None:
                found.append(head)
    return found
