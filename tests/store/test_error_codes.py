"""The names of ClickHouse's error codes are those that the engine itself gives them."""

from __future__ import annotations

from analytics_server.store import Store
from analytics_server.store.error_codes import EngineCode


async def test_the_engine_knows_every_code_by_its_name(store: Store) -> None:
    answer = await store.query(
        "SELECT code, errorCodeToName(toUInt32(code)) AS name FROM (SELECT arrayJoin({codes:Array(UInt32)}) AS code)",
        {"codes": [int(code) for code in EngineCode]},
    )
    assert {str(name): code for code, name in answer.rows} == {code.name: int(code) for code in EngineCode}
