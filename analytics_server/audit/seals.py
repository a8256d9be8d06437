"""Seals of the audit log: up to which entry a chain was cut because of its age, and who may say so.

A seal is an entry `audit_cut`. Write access to the table would be enough to forge one, to hide that entries were
removed. So it carries an HMAC (SHA-256) of what it says and of the chain it stands in, under a key that lies in the
data directory (`audit/seal_key.json`) and never in ClickHouse. A chain of this data directory is cut by this key alone:
any other seal about it is forged. Of the chains of other servers the key tells only where it is theirs too, as when it
was copied; their seals count all the same, and are shown as not checked here. A later seal carries on what such seals
say, as members of their own (`unproven-…`), which stay unproven, and never count for a chain of the reader's data
directory.

Versions before had no key. What their seals said when the key was made is kept beside it, and counts.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from analytics_server.audit.chain import FOLDER, ChainHead, ChainRow, replace_file
from analytics_server.audit.table import rows_of_action
from analytics_server.store.protocol import Store

CUT = "audit_cut"
KEY_FILE = "seal_key.json"
KEY_ID, MAC = "seal_key", "seal"
"""Members of a seal's `details`, beside the chains."""
UNPROVEN = "unproven-"
"""Before the chain's name: its end is carried on from a seal of another key, or from before there was one."""


class SealKey(msgspec.Struct, frozen=True, kw_only=True):
    """The key, hex. `accepted`: the ends of chains by seals that were there before it."""

    key: str
    accepted: dict[str, str] = {}

    @property
    def id(self) -> str:
        """By which seals name it: it tells nothing of the key."""
        return "k-" + hashlib.sha256(b"seal key " + bytes.fromhex(self.key)).hexdigest()[:16]

    def details(self, server: str, ends: Iterable[ChainHead], unproven: Iterable[ChainHead] = ()) -> dict[str, str]:
        """Of a seal in the chain of `server`: the ends of chains, those that are only carried on, and the proof."""
        cut = {end.server: _shown(end) for end in sorted(ends, key=lambda end: end.server)}
        cut.update((UNPROVEN + end.server, _shown(end)) for end in sorted(unproven, key=lambda end: end.server))
        return {**cut, KEY_ID: self.id, MAC: self._mac(server, cut)}

    def is_genuine(self, server: str, details: Mapping[str, str]) -> bool:
        """Was the seal made with this key, for that chain?"""
        cut = {name: value for name, value in details.items() if name not in (KEY_ID, MAC)}
        return hmac.compare_digest(self._mac(server, cut).encode(), details.get(MAC, "").encode("utf-8", "replace"))

    def accepted_end(self, server: str) -> ChainHead | None:
        """The chain's end by the seals of before."""
        return _end(server, self.accepted.get(server, ""))

    def _mac(self, server: str, cut: Mapping[str, str]) -> str:
        text = msgspec.json.encode([server, dict(cut)], order="sorted")
        return "m-" + hmac.new(bytes.fromhex(self.key), text, hashlib.sha256).hexdigest()


@dataclass(slots=True)
class Seals:
    """What the seals say. `ends`: of every chain that was cut, the last entry that is allowed to be gone."""

    ends: dict[str, ChainHead] = field(default_factory=dict)
    proven: dict[str, ChainHead] = field(default_factory=dict)
    """Of every chain that was cut with the key: its end by those seals alone."""
    forged: dict[tuple[str, int], str] = field(default_factory=dict)
    """Seals that are not genuine, by chain and number, with what is wrong."""

    def take(self, end: ChainHead, *, is_proven: bool) -> None:
        """The chain may be cut as far as that."""
        for ends in (self.ends, self.proven) if is_proven else (self.ends,):
            known = ends.get(end.server)
            if known is None or (end.sequence, is_proven) > (known.sequence, False):
                ends[end.server] = end

    def is_proven(self, server: str) -> bool:
        """Is the chain's end proven by the key?"""
        return server in self.ends and self.ends[server] == self.proven.get(server)

    def forged_in(self, server: str) -> dict[int, str]:
        """The chain's seals that are not genuine, by number, with what is wrong."""
        return {number: why for (chain, number), why in self.forged.items() if chain == server}

    def unproven(self) -> list[ChainHead]:
        """The ends that are not proven."""
        return [end for server, end in self.ends.items() if not self.is_proven(server)]


async def read_seals(store: Store, key: SealKey | None = None, own: Collection[str] = ()) -> Seals:
    """All seals, judged by the key; without one all count. `own`: the chains of its data directory. Raises a store
    error."""
    found, others = Seals(), list[tuple[ChainRow, list[ChainHead]]]()
    if key is not None:
        for before in filter(None, map(key.accepted_end, key.accepted)):
            found.take(before, is_proven=False)
    for row in await rows_of_action(store, CUT):
        try:
            details = msgspec.json.decode(row.text, type=_Seal).details
        except msgspec.MsgspecError:
            continue  # the check of its chain says so
        ends = [end for name, text in details.items() if (end := _end(name, text)) is not None]
        carried = [end for end in map(_carried, ends) if end is not None and (key is None or end.server not in own)]
        ends = [end for end in ends if not end.server.startswith(UNPROVEN)]
        if key is None or details.get(KEY_ID) != key.id:
            others.append((row, ends))
        elif key.is_genuine(row.server, details):
            for end in ends:
                found.take(end, is_proven=True)
        else:
            found.forged[row.server, row.sequence] = "It is no seal of this server's key: forged, or moved."
            continue
        for end in carried:
            found.take(end, is_proven=False)
    for row, ends in others:
        for end in ends:
            if key is None or end.server not in own:
                found.take(end, is_proven=False)
            elif end.server not in found.ends or end.sequence > found.ends[end.server].sequence:
                found.forged[row.server, row.sequence] = f"It cuts the chain {end.server}, but not by its server's key."
    return found


class SealKeyFile:
    """The file that keeps the key. Its calls block: for threads."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / FOLDER / KEY_FILE

    def read(self) -> SealKey | None:
        """The key; None where there is none. Raises `OSError`, `ValueError` for one that is damaged."""
        try:
            key = msgspec.json.decode(self.path.read_bytes(), type=SealKey)
            if len(bytes.fromhex(key.key)) < hashlib.sha256().digest_size:
                raise ValueError("the key is too short")
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, ValueError) as error:
            raise ValueError(f"{self.path} is damaged: {error}") from error
        return key

    def make(self, seals: Seals) -> SealKey:
        """A new key; what the seals say now is accepted. A damaged file is set aside. Raises `OSError`."""
        if self.path.exists():
            os.replace(self.path, self.path.with_suffix(".damaged"))
        accepted = {server: _shown(end) for server, end in sorted(seals.ends.items())}
        key = SealKey(key=secrets.token_hex(hashlib.sha256().digest_size), accepted=accepted)
        replace_file(self.path, msgspec.json.encode(key), mode=0o600)
        return key


def _carried(end: ChainHead) -> ChainHead | None:
    """The end of a chain that a seal only carries on; None for the others."""
    server = end.server.removeprefix(UNPROVEN)
    return None if server == end.server else ChainHead(server=server, sequence=end.sequence, hash=end.hash)


class _Seal(msgspec.Struct, frozen=True, kw_only=True):
    details: dict[str, str] = {}


def _shown(end: ChainHead) -> str:
    return f"{end.sequence}:{end.hash}"


def _end(server: str, text: str) -> ChainHead | None:
    number, _, digest = text.partition(":")
    if not (number.isascii() and number.isdigit() and digest):
        return None
    return ChainHead(server=server, sequence=int(number), hash=digest)
