"""Access control of one server: tokens and sites, read at the start and kept up to date."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry

from analytics_server.access.actions import GateAuthorizer
from analytics_server.access.authentication import Authentication
from analytics_server.access.gate import OWN_REFRESH_S, REFRESH_S, Gate
from analytics_server.access.links.link_creation import LinkScopes
from analytics_server.access.people_service import PeopleService
from analytics_server.access.principals import Role
from analytics_server.access.sites.profile_routes import endpoints as profile_endpoints
from analytics_server.access.sites.sharing import shared_from_ms
from analytics_server.access.sites.site_routes import SiteRoutes
from analytics_server.access.sites.sites import Sites
from analytics_server.access.token_routes import TokenRoutes
from analytics_server.config import Config
from analytics_server.http.audit import Recorder
from analytics_server.http.endpoint import Endpoint
from analytics_server.lifecycle import BackgroundTasks
from analytics_server.model import DropCount, stored_site_id
from analytics_server.store import Store
from analytics_server.store.unreadable import UnreadableDocuments

log = logging.getLogger(__name__)

NEW_TOKEN = "Restore a backup, or stop the server and run analytics-server token create --role admin."


class DamageReader(Protocol):
    """Reads tables that may be damaged."""

    async def reading(self, table: str, work: Callable[[], Awaitable[object]]) -> None:
        """Do some work that reads the table; go on without it where its files are damaged."""
        ...

    def has_lost(self, table: str) -> bool:
        """Are rows of the table missing?"""
        ...


class AccessService:
    """`admin_token`: one that is accepted beside those that are stored, or an empty text."""

    def __init__(self, config: Config, store: Store, registry: CollectorRegistry, *, admin_token: str) -> None:
        unreadable = self.unreadable = UnreadableDocuments()
        unreadable.register(registry)
        self._admin_token = admin_token
        refresh_s = OWN_REFRESH_S if store.capabilities.owns_files else REFRESH_S
        self.gate = Gate(store, unreadable=unreadable, refresh_s=refresh_s)
        self.sites = Sites(store, config.sites, unreadable=unreadable)
        self.people = PeopleService(
            config, store, unreadable, refresh_s, self.gate.holder, self._shared_from_ms, self._public_site, registry
        )
        self.authorizer = GateAuthorizer(Authentication(self.gate, self.people.sessions, self.people.links))
        self.new_admin_token = ""
        """Made by `load` when there was none; shown once."""

    def _shared_from_ms(self, site_id: str) -> int | None:
        return shared_from_ms(self.sites.get(site_id))

    def _has_site(self, site_id: str) -> bool:
        return self.sites.get(site_id) is not None

    def _public_site(self, site_id: str) -> str:
        site = self.sites.get(stored_site_id(site_id))
        return site.site_id if site is not None and site.public else ""

    def endpoints(
        self,
        drops_of_unknown_sites: Callable[[], list[DropCount]],
        client_of: Callable[[web.Request], str],
        scopes: LinkScopes,
        recorder: Recorder,
    ) -> list[Endpoint]:
        """Sites, tokens, people and links over HTTP. `client_of` tells clients apart; `recorder` audits sign-ins."""
        return [
            *SiteRoutes(self.sites, drops_of_unknown_sites).endpoints(),
            *profile_endpoints(),
            *TokenRoutes(self.gate).endpoints(),
            *self.people.endpoints(client_of, scopes, recorder, has_site=self._has_site),
        ]

    async def load(self, damage: DamageReader) -> None:
        """Read tokens and sites. Raises a store error."""
        await damage.reading("tokens", self.gate.load)
        await damage.reading("people", self.people.people.load)
        await damage.reading("people", self.people.links.load)
        await damage.reading("person_sessions", self.people.sessions.load)
        await self._ensure_admin(damage)
        await damage.reading("sites", self.sites.load)
        if damage.has_lost("sites"):
            self.sites.take_all()

    def start(self, tasks: BackgroundTasks) -> None:
        """Begin to refresh and to write in the background; `tasks` are cancelled before `close`."""
        self.sites.start()
        tasks.start(self.gate.uses.run, "credential-uses")
        self.people.start(tasks)

    async def close(self) -> None:
        """Write what is not written yet."""
        await self.gate.uses.close()
        await self.people.close()
        await self.sites.close()

    async def _ensure_admin(self, damage: DamageReader) -> None:
        if self._admin_token:
            self.gate.accept(self._admin_token, Role.ADMIN, "ANALYTICS_ADMIN_TOKEN")
        elif lost := [table for table in ("tokens", "people") if damage.has_lost(table)]:
            # damage must not make an admin of everyone who reads this server's output
            log.error("no admin token is made, because rows are lost", extra={"tables": lost, "remedy": NEW_TOKEN})
        elif not self.gate.has_owner() and not self.people.people.has_owner():
            self.new_admin_token = await self.gate.create(Role.ADMIN, name="first start")
