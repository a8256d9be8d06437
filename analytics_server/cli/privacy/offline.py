"""People's rights while no server runs: the log, the store and what works on them, without a listening socket.

The log is locked, so no server can start meanwhile; what it holds is delivered as by a start.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from analytics_server.access.service import AccessService
from analytics_server.archive.service import Archive
from analytics_server.cli.audit import command_log, machine_user
from analytics_server.config import Config
from analytics_server.http.audit import AuditEntry
from analytics_server.http.authorization import Action
from analytics_server.ingest.service import IngestService
from analytics_server.privacy.service import PrivacyService
from analytics_server.rollups.integrity import make_integrity
from analytics_server.store import make_store, migrate


@asynccontextmanager
async def offline_privacy(config: Config, action: Action, command: str, user_id: str) -> AsyncIterator[PrivacyService]:
    """Ready to be used, and recorded. Raises an `AnalyticsError`, also when a server runs on the directory."""
    registry = CollectorRegistry()
    store = make_store(config)
    ingest = IngestService(config, store, registry, on_durable=lambda rows: None, has_loss=lambda: False)
    integrity = make_integrity(store, config.data_dir, registry, lambda: ingest.flusher.delivered)
    access = AccessService(config, store, registry, admin_token="")
    left_over = ingest.wal.open()
    try:
        await store.open()
        await integrity.inspect()
        await migrate(store, cluster=config.clickhouse.cluster)
        async with command_log(store, config) as recorder:
            await access.sites.load()
            archive = Archive(config, store, access.sites, recorder, registry)
            privacy = PrivacyService(config, store, access, ingest, integrity, recorder, archive=archive)
            await privacy.load(integrity.reading)
            await privacy.clean(left_over)
            ingest.wal.start()
            ingest.deliver(left_over)
            await recorder.append(
                AuditEntry(
                    action=action.name,
                    operation=command,
                    principal_kind="internal",
                    principal_id="cli",
                    principal_name=machine_user(),
                    details={"user_hash": privacy.hashes.of(user_id)},
                )
            )
            yield privacy
    finally:
        ingest.stopping = True
        await ingest.flusher.close()
        await ingest.wal.close()
        await integrity.close()
        await store.close()
