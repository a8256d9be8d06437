"""Audit log of one server: its own chain, the entries of its starts and stops, the daily cut, and the routes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
from prometheus_client import CollectorRegistry

from analytics_server import __version__
from analytics_server.audit.chain import SERVER_CHAIN, known_heads
from analytics_server.audit.chain_routes import ChainRoutes
from analytics_server.audit.expiry import CUT_LEASE, CUT_LEASE_S, cut
from analytics_server.audit.log import AuditLog
from analytics_server.audit.routes import endpoints
from analytics_server.audit.seals import KEY_FILE, SealKey, SealKeyFile, read_seals
from analytics_server.audit.table import newest_of_action
from analytics_server.config import Config
from analytics_server.errors import StoreError
from analytics_server.http.audit import AuditEntry
from analytics_server.http.endpoint import Endpoint
from analytics_server.store.lease import Lease, leased
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

START = "server_start"
STOP = "server_stop"
_SECRET = re.compile(r"password|secret|token|key$")
_CREDENTIALS = re.compile(r"(?<=//)[^/@]*@|(?<=password=)[^&]*")


class TableReader(Protocol):
    """Reads tables that may be damaged."""

    async def reading(self, table: str, work: Callable[[], Awaitable[object]]) -> None:
        """Do some work that reads the table; go on without it where its files are damaged."""
        ...


class AuditService:
    """`log` takes the entries."""

    def __init__(self, config: Config, store: Store, registry: CollectorRegistry) -> None:
        self._config = config
        self._store = store
        self.log = AuditLog(store, config.data_dir, SERVER_CHAIN, registry=registry)

    def endpoints(self) -> list[Endpoint]:
        """Reading the log over HTTP, checking it, and retiring chains."""
        chains = ChainRoutes(
            self._store,
            self.log,
            data_dir=self._config.data_dir,
            keep_days=self._config.privacy.audit_retention_days,
            key=self._seal_key,
        )
        return [*endpoints(self._store, self.log), *chains.endpoints()]

    def tasks(self) -> Iterator[tuple[Callable[[], Coroutine[Any, Any, None]], str]]:
        """What runs in the background, with a name for each."""
        yield self.log.run, "audit"

    def daily(self) -> Iterator[tuple[str, Callable[[], Awaitable[bool]]]]:
        """What is done once a day, with a name for it."""
        yield "audit-retention", self._cut

    async def open(self, damage: TableReader) -> None:
        """Find the chain's end and record the start, with what the settings are. Raises a store error, `OSError`."""
        await damage.reading("audit", self.log.open)
        try:
            await damage.reading("audit", self._seal_key)
        except OSError as error:
            log.error(
                "the key of the audit log's seals can't be read or made: no old entries are removed",
                extra={"file": KEY_FILE, "reason": str(error)},
            )
        digest, before = config_digest(self._config), ""
        try:
            before = await self._last_digest()
        except (StoreError, msgspec.MsgspecError) as error:
            log.warning("the last start is not found in the audit log", extra={"reason": str(error)[:200]})
        changed = "unknown" if not before else "no" if before == digest else "yes"
        details = {"version": __version__, "config": digest, "config_changed": changed}
        self.log.note(AuditEntry(action=START, principal_kind="internal", principal_name="server", details=details))

    async def _last_digest(self) -> str:
        row = await newest_of_action(self._store, self.log.head.server, START)
        return "" if row is None else msgspec.json.decode(row.text, type=_Start).details.get("config", "")

    async def _cut(self) -> bool:
        """Cut what is too old, by one server at a time: each seal names all chains."""
        lease = Lease(self._store, CUT_LEASE, holder=self.log.head.server, ttl_s=CUT_LEASE_S)
        async with leased(lease) as taken:
            if not taken:
                return False
            ends = await cut(
                self._store,
                self.log,
                now=datetime.now(UTC),
                keep_days=self._config.privacy.audit_retention_days,
                key=await self._seal_key(),
                own=await asyncio.to_thread(known_heads, self._config.data_dir),
                server=self.log.head.server,
            )
        if ends:
            log.info("old audit entries removed", extra={"chains": len(ends)})
        return True

    async def _seal_key(self) -> SealKey:
        """The key of this data directory; made where there is none. Raises a store error, `OSError`."""
        file, key = SealKeyFile(self._config.data_dir), None
        try:
            key = await asyncio.to_thread(file.read)
        except ValueError as error:
            log.error("the key of the audit log's seals is damaged, a new one is made", extra={"reason": str(error)})
        if key is not None:
            return key
        if self.log.head.sequence:
            log.warning(
                "a key of the audit log's seals is made, and seals of before count as they are: if there was a key, put"
                " it back from a backup",
                extra={"file": KEY_FILE},
            )
        return await asyncio.to_thread(file.make, await read_seals(self._store))

    async def close(self) -> None:
        """Record the stop and write what waits."""
        if self.log.is_open:
            self.log.note(AuditEntry(action=STOP, principal_kind="internal", principal_name="server"))
        await self.log.close()


class _Start(msgspec.Struct, frozen=True, kw_only=True):
    details: dict[str, str] = {}


def config_digest(config: Config) -> str:
    """SHA-256 of the settings as JSON, hex: secrets left out, sections and keys sorted."""
    sections = {
        name: {key: value for key, value in section.items() if not _SECRET.search(key)}
        for name, section in msgspec.to_builtins(config).items()
    }
    sections["clickhouse"]["url"] = _CREDENTIALS.sub("", sections["clickhouse"]["url"])
    return hashlib.sha256(msgspec.json.encode(sections, order="sorted")).hexdigest()
