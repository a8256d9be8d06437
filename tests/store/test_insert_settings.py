"""What goes along with an insert: a server is told not to log it."""

from __future__ import annotations

from typing import Any, cast

import pytest
from clickhouse_connect.driver.client import Client

from analytics_server.store.engines.threaded import ThreadedStore
from analytics_server.store.protocol import IN_PROCESS, OVER_HTTP, Capabilities, Encoded
from analytics_server.store.settings import INSERT_SETTINGS, SERVER_INSERT_SETTINGS


class FakeClient:
    """Keeps the settings of the last insert."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}

    def raw_insert(
        self, table: str, columns: list[str], data: object, *, settings: dict[str, Any], **_: object
    ) -> None:
        self.settings = settings

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(("capabilities", "told"), [(OVER_HTTP, SERVER_INSERT_SETTINGS), (IN_PROCESS, {})])
async def test_a_server_does_not_log_inserts(capabilities: Capabilities, told: dict[str, str]) -> None:
    client = FakeClient()
    store = ThreadedStore(
        kind="",
        capabilities=capabilities,
        location="",
        database="d",
        make_client=lambda: cast(Client, client),
        prepare=lambda: cast(Client, client),
        threads=1,
    )
    await store.insert_encoded("t", Encoded(columns=("a",), rows=1, pieces=[b""]), query_id="one")
    await store.close()
    expected = INSERT_SETTINGS | told | ({"query_id": "one"} if capabilities.inserts_outlive_calls else {})
    assert {name: value for name, value in client.settings.items() if name != "max_execution_time"} == expected
    assert client.settings.get("log_queries") == ("0" if capabilities.keeps_query_log else None)
