"""Whole chains over HTTP: what their handlers refuse. What they answer: `cli/test_beside_a_server.py`."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp.test_utils import make_mocked_request

from analytics_server.audit import verify as verifying
from analytics_server.audit.chain import SERVER_CHAIN
from analytics_server.audit.chain_routes import ChainRoutes
from analytics_server.audit.log import AuditLog
from analytics_server.audit.seals import SealKey
from analytics_server.audit.verify import verify
from analytics_server.errors import Conflict, RequestError, Unavailable
from analytics_server.http.endpoint import Call
from analytics_server.store import Store
from tests.audit.conftest import an_entry, opened

NO_CALL = cast("Call[Any]", None)


def routes_of(log: AuditLog, store: Store, directory: Path) -> ChainRoutes:
    async def unreadable() -> SealKey:
        raise PermissionError(13, "Permission denied")

    return ChainRoutes(store, log, data_dir=directory, keep_days=400, key=unreadable)


async def test_one_check_is_made_at_a_time(empty_migrated: Store, tmp_path: Path) -> None:
    routes = routes_of(await opened(empty_migrated, tmp_path), empty_migrated, tmp_path)

    async with routes._checking:
        with pytest.raises(Conflict) as refused:
            await routes.verify(NO_CALL)

    assert refused.value.code == "verify_under_way"


async def test_without_the_key_nothing_is_checked(empty_migrated: Store, tmp_path: Path) -> None:
    routes = routes_of(await opened(empty_migrated, tmp_path), empty_migrated, tmp_path)

    with pytest.raises(Unavailable, match="Permission denied") as refused:
        await routes.verify(NO_CALL)

    assert (refused.value.code, routes._checking.locked()) == ("seal_key_unreadable", False)


@pytest.mark.parametrize(
    ("query", "code"),
    [("?from=xx", "bad_date_range"), ("?from=2026-02-01&to=2026-01-01", "bad_date_range"), ("?limit=1", "unknown_key")],
)
def test_a_range_that_is_none_is_refused(query: str, code: str) -> None:
    store = cast(Store, None)
    log = AuditLog(store, Path(), SERVER_CHAIN)
    (export,) = [one for one in routes_of(log, store, Path()).endpoints() if one.name == "export_audit"]
    assert export.parse is not None

    with pytest.raises(RequestError) as refused:
        export.parse(make_mocked_request("GET", f"/api/v1/privacy/audit/export{query}"))

    assert refused.value.code == code


async def test_the_loop_turns_between_the_pages_of_a_check(
    empty_migrated: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "PAGE", 10)
    log = await opened(empty_migrated, tmp_path)
    for number in range(100):
        log.note(an_entry(number))
    await log.write()
    turns, pages = 0, list[int]()

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    report = await verify(empty_migrated, [log.head], advance=lambda done, total: pages.append(turns))
    counting.cancel()

    assert report.ok
    assert len(pages) > 10
    assert all(later > earlier for earlier, later in itertools.pairwise(pages))
