"""What people ask works, and the answers are right."""

from __future__ import annotations

import math
from typing import Any

import pytest

from analytics_server.errors import RequestError
from tests.sql.conftest import SqlClient
from tests.sql.useful import QUERIES, Useful
from tests.sql.world import World


def test_there_are_a_hundred_and_most_are_checked() -> None:
    assert len({query.sql for query in QUERIES}) == len(QUERIES) >= 100
    assert sum(query.expected is not None for query in QUERIES) >= 75


def is_close(got: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and isinstance(got, int | float):
        return math.isclose(got, wanted, rel_tol=1e-9)
    if isinstance(wanted, list) and isinstance(got, list):
        return len(got) == len(wanted) and all(is_close(a, b) for a, b in zip(got, wanted, strict=True))
    return bool(got == wanted)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.sql[:60])
async def test_useful_query_answers(sql_client: SqlClient, site_world: World, query: Useful) -> None:
    try:
        rows = await sql_client.rows(query.sql, query.params)
    except RequestError as error:
        if query.server_only and error.code in ("unknown_function", "unsupported_join"):
            return
        raise
    if query.expected is not None:
        wanted = query.expected(site_world)
        got = rows if "ORDER BY" in query.sql else sorted(rows, key=repr)
        assert is_close(got, wanted if "ORDER BY" in query.sql else sorted(wanted, key=repr)), (rows, wanted)
