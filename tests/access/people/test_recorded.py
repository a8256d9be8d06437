"""Audit entries of public routes: durable before the answer, but not where anyone may call them at will."""

from __future__ import annotations

import pytest
from aiohttp import web

from analytics_server.access.actions import MANAGE_LINKS
from analytics_server.access.people.parts import recorded
from analytics_server.http.audit import AuditEntry, AuditTrail


class Written:
    """Takes entries, and says how each came."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str]] = []

    def note(self, entry: AuditEntry) -> None:
        self.entries.append(("background", entry.outcome))

    async def append(self, entry: AuditEntry) -> None:
        self.entries.append(("durable", entry.outcome))


@pytest.mark.parametrize(("in_background", "how"), [(False, "durable"), (True, "background")])
async def test_an_entry_is_durable_unless_anyone_may_call_at_will(in_background: bool, how: str) -> None:
    written = Written()

    async def answer(trail: AuditTrail) -> web.Response:
        trail.in_background = in_background
        return web.Response()

    await recorded(written, MANAGE_LINKS, "open_share_link", answer)
    assert written.entries == [(how, "ok")]
