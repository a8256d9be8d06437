"""Prerendering. Chromium refuses to prerender under a debugger, so this browser runs without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.browser import ARGUMENTS, USER_AGENT
from tests.tracker.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

START = """<!doctype html>
<script type="speculationrules">
{"prerender": [{"source": "list", "urls": ["/next"], "eagerness": "immediate"}]}
</script>
<script>fetch('/hold').then(() => { location.href = '/next' })</script>
"""
# Tells that it is being prerendered only when a tracker that does not wait would have sent its page view.
NEXT = """<script>
addEventListener('load', () => setTimeout(() => document.prerendering && fetch('/prerendered'), 500));
</script>"""


@asynccontextmanager
async def running(chromium: str, profile: Path, address: str) -> AsyncIterator[None]:
    """A browser that has opened the address, without DevTools attached."""
    process = await asyncio.create_subprocess_exec(
        chromium,
        "--headless=new",
        *ARGUMENTS,
        f"--user-agent={USER_AGENT}",
        f"--user-data-dir={profile}",
        address,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        async with asyncio.timeout(60):
            await process.wait()


async def test_prerendered_page_counts_when_it_is_opened(site: Site, chromium: str, tmp_path: Path) -> None:
    start = site.add_raw("/start", START)
    site.add("/next", NEXT)
    async with running(chromium, tmp_path, start):
        await site.wait(lambda site: "/prerendered" in site.visited)
        assert not site.events
        site.released.set()
        await site.wait_names("pageview")
    assert site.events[0]["url"] == f"{site.origin}/next"
    assert site.events[0]["referrer"] == start
    assert site.visited.count("/next") == 1
