"""Two server processes on one ClickHouse: each has its own chain, all are checked from either, and an edit is named."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clickhouse_connect
import msgspec
import pytest

from analytics_server.audit.chain import SERVER_CHAIN, HeadFile
from analytics_server.audit.verify import BrokenEntry, ChainReport, VerifyReport
from tests.clickhouse import ClickHouseFront
from tests.e2e.conftest import assert_clean
from tests.server import Client, RunningServer

pytestmark = pytest.mark.timeout(300)
DATABASE = "two_chains"
TOKENS = 12


@pytest.fixture
def servers(clickhouse_front: ClickHouseFront, tmp_path: Path) -> Iterator[tuple[RunningServer, RunningServer]]:
    settings = {"clickhouse_url": clickhouse_front.url, "clickhouse_database": DATABASE}
    left, right = (RunningServer(tmp_path / name, settings) for name in ("left", "right"))
    with left, right:
        yield left, right
        assert [left.terminate(), right.terminate()] == [0, 0]
    for server in (left, right):
        assert_clean(server.log)


def chain_of(server: RunningServer) -> str:
    head = HeadFile(server.data_dir, SERVER_CHAIN).read()
    assert head is not None
    return head.server


async def make_entries(*servers: RunningServer) -> None:
    """Changes and questions on all of them at the same time; those of changes are durable when they are answered."""

    async def on(server: RunningServer) -> None:
        async with Client(server) as client:
            for _ in range(TOKENS):
                await asyncio.gather(
                    client.call("POST", "/api/v1/tokens", {"role": "read"}), client.call("GET", "/api/v1/tokens")
                )

    await asyncio.gather(*map(on, servers))


async def verified(server: RunningServer) -> dict[str, ChainReport]:
    """What a command with a server's data directory finds, chain by chain, while both servers run."""
    done = await asyncio.to_thread(server.command, "audit", "verify", "--json")
    report = msgspec.json.decode(done.stdout, type=VerifyReport)
    assert (done.returncode == 0) == report.ok == all(chain.broken is None for chain in report.chains), done.stderr
    return {chain.server: chain for chain in report.chains}


def edit(front: ClickHouseFront, chain: str, *, with_hash: bool = False) -> int:
    """Make another of a chain's entries in the table, in its middle; tells which. With a hash that fits it, or not."""
    client: Any = clickhouse_connect.get_client(dsn=front.url, database=DATABASE)
    try:
        asked = (
            f"SELECT sequence, entry FROM audit WHERE server = '{chain}' AND action = 'manage_tokens' ORDER BY sequence"
        )
        rows = [row for row in client.query(asked).result_rows if '"operation":"create_token"' in row[1]]
        sequence, text = rows[len(rows) // 2]
        edited = text.replace("create_token", "revoke_token")
        changes = "entry = {entry:String}" + (", hash = {hash:String}" if with_hash else "")
        client.command(
            f"ALTER TABLE audit UPDATE {changes} WHERE server = '{chain}' AND sequence = {sequence}"
            " SETTINGS mutations_sync = 2",
            parameters={"entry": edited, "hash": hashlib.sha256(edited.encode()).hexdigest()},
        )
        return int(sequence)
    finally:
        client.close()


def broken_at(chain: ChainReport) -> tuple[int, str, str]:
    assert isinstance(chain.broken, BrokenEntry)
    return chain.broken.sequence, chain.broken.fault, chain.broken.action


async def test_both_chains_are_whole_and_an_entry_that_is_edited_in_one_is_named(
    servers: tuple[RunningServer, RunningServer], clickhouse_front: ClickHouseFront
) -> None:
    left, right = servers
    ours, theirs = map(chain_of, servers)
    await make_entries(*servers)

    for server, own, other in ((left, ours, theirs), (right, theirs, ours)):
        found = await verified(server)
        assert found.keys() >= {own, other}  # a command that was given before has a chain, too
        assert (found[own].is_head_known, found[other].is_head_known) == (True, False)
        for chain in (found[own], found[other]):
            assert (chain.first, chain.entries) == (1, chain.last)
            assert chain.entries > TOKENS

    edited = edit(clickhouse_front, theirs)
    await make_entries(*servers)  # a chain goes on after a fault
    for server in servers:
        found = await verified(server)
        assert broken_at(found[theirs]) == (edited, "edited", "manage_tokens")
        assert [name for name, chain in found.items() if chain.broken is not None] == [theirs]
        assert found[ours].entries > 2 * TOKENS
    done = await asyncio.to_thread(left.command, "audit", "verify")
    lines = {line.partition(" ")[0]: line for line in done.stdout.splitlines()}
    assert done.returncode == 1
    assert f"{theirs}  BROKEN at entry {edited} (" in lines[theirs]
    assert "BROKEN" not in lines[ours]

    rehashed = edit(clickhouse_front, ours, with_hash=True)  # then the next one does not follow on it
    for server in servers:
        found = await verified(server)
        assert broken_at(found[ours])[:2] == (rehashed + 1, "edited")
        assert broken_at(found[theirs])[0] == edited
