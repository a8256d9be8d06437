"""The certificate of an erasure, as a document to hand on: it names the person by a keyed hash only."""

from __future__ import annotations

import hashlib

import msgspec

VERSION = 1


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """`removed`: rows by table that were the person's; `rebuilt`: rows by table that counted the person among others,
    and were made again without. Times are milliseconds since 1970.

    `cut_off_at_ms`: events acknowledged until then are removed. `files_removed`: ClickHouse keeps no file any more in
    which a removed row stood. `not_searched`: files that could not be read. `sites` null: all.
    `named_in`: saved things whose filters name the person, and still do: they are for people to change or delete.
    `hash`: SHA-256 of this document as JSON with sorted keys and an empty `hash`; it is handed to the audit log.
    """

    erasure_id: str
    user_hash: str
    sites: tuple[str, ...] | None
    requested_at_ms: int
    cut_off_at_ms: int
    completed_at_ms: int
    removed: dict[str, int]
    rebuilt: dict[str, int]
    verified: bool
    files_removed: bool
    opted_out: bool
    not_searched: tuple[str, ...] = ()
    named_in: tuple[str, ...] = ()
    follows: str = ""
    version: int = VERSION
    hash: str = ""


def sealed(certificate: Certificate) -> Certificate:
    """The certificate with its hash."""
    return msgspec.structs.replace(certificate, hash=hash_of(certificate))


def hash_of(certificate: Certificate) -> str:
    """What `hash` has to be."""
    bare = msgspec.structs.replace(certificate, hash="")
    return hashlib.sha256(msgspec.json.encode(bare, order="sorted")).hexdigest()
