"""What people's clients do to end a running question ends it in the engine too: on both, long before its time limit.

JDBC's `Statement.cancel()`, which is DBeaver's *Cancel*, sends `KILL QUERY`; a cancelled context of Go and an aborted
request of Node.js go away. Each program waits until the server knows the question, ends it, and waits until the server
does not know it any more.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from urllib.parse import urlsplit

import clickhouse_connect
import msgspec
import pytest

from tests.clickhouse_api.questions import ENDLESS
from tests.clickhouse_api.real import filled
from tests.clickhouse_api.test_clients import Program, go, java, node
from tests.server import RunningServer, wait_for

TIME_LIMIT_S = 600
"""Not reached: what ends ends before."""


@pytest.fixture(scope="module", params=["embedded", "server"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with filled(request, tmp_path_factory.mktemp("cancelling"), time_limit_s=TIME_LIMIT_S) as server:
        yield server


def cancelled(program: Program, server: RunningServer) -> str:
    """What the program was told of its question."""
    done = subprocess.run(
        [*program.command, f"127.0.0.1:{server.port}", server.token, "", ",analytics,none"],
        cwd=program.folder,
        input=f"endless\tcancelled\t{ENDLESS[0]}\n",
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return str(msgspec.json.decode(done.stdout)["error"])


async def assert_idle(server: RunningServer) -> None:
    """The ClickHouse server works at no such question. In process the interface alone can be asked, as programs do."""
    url = server.environment().get("ANALYTICS_CLICKHOUSE_URL")
    if url is None:
        return
    parts = urlsplit(url)
    with contextlib.closing(
        clickhouse_connect.get_client(
            host=parts.hostname,
            port=parts.port or 8123,
            username=parts.username or "default",
            password=parts.password or "",
        )
    ) as client:

        async def is_idle() -> bool:
            found = client.query(
                "SELECT count() FROM system.processes"
                " WHERE query LIKE '%numbers(1000000)%' AND query NOT LIKE '%processes%'"
            )
            return bool(found.result_rows == [(0,)])

        await wait_for(is_idle, what="the end of the question")


async def test_jdbcs_cancel_ends_the_question(server: RunningServer) -> None:
    assert cancelled(java(), server) == "394"
    await assert_idle(server)


async def test_gos_cancelled_context_ends_the_question(server: RunningServer) -> None:
    assert cancelled(go(), server) == "cancelled"
    await assert_idle(server)


async def test_an_aborted_request_of_node_ends_the_question(server: RunningServer) -> None:
    assert cancelled(node(), server) == "The user aborted a request."
    await assert_idle(server)
