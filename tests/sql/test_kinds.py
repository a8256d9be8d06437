"""Each kind of SQL that analysts write answers rightly, or is refused with what to write instead, on both engines."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from analytics_server.errors import AnalyticsError, StoreFatal
from analytics_server.sql.engine_errors import UNKNOWN_FUNCTIONS
from analytics_server.store import Store
from tests.sql.conftest import SqlClient, make_service
from tests.sql.kinds import KINDS, LACKING, NARROW, Instead, Known
from tests.sql.test_useful import is_close
from tests.sql.world import World


@pytest.fixture
async def sql_client(filled: tuple[str, Store]) -> AsyncIterator[SqlClient]:
    """With time enough on a busy machine: what is asked here is answered, not stopped."""
    kind, store = filled
    service = make_service(store, timeout_s=30.0)
    yield SqlClient(service, kind)
    await service.close()


async def fault(sql_client: SqlClient, case: Known | Instead, world: World) -> str:
    """What is wrong with the answer to one text; empty when nothing is."""
    try:
        rows = await sql_client.rows(case.sql)
    except AnalyticsError as error:
        if isinstance(case, Instead) and 400 <= error.status < 500 and case.words in error.message:
            return ""
        return f"{case.sql}: {error.code} {error.message}"
    if isinstance(case, Instead):
        return f"{case.sql}: was not refused, answered {rows}"
    wanted = case.expected(world)
    got = rows if "ORDER BY" in case.sql else sorted(rows, key=repr)
    return "" if is_close(got, wanted) else f"{case.sql}: {rows} is not {wanted}"


@pytest.mark.parametrize("kind", list(KINDS))
async def test_kind_of_sql_answers_or_tells_what_to_write(sql_client: SqlClient, site_world: World, kind: str) -> None:
    faults = [found for case in KINDS[kind] if (found := await fault(sql_client, case, site_world))]
    assert not faults, "\n".join(faults)


async def test_what_the_engine_lacks_is_refused_with_a_remedy_and_runs_where_it_is_there(
    sql_client: SqlClient,
) -> None:
    features = await sql_client.service.features()
    for text, function, words in LACKING:
        if features.has_function(function) if function else features.rare_joins:
            await sql_client.rows(text)
            continue
        with pytest.raises(AnalyticsError) as caught:
            await sql_client.rows(text)
        assert caught.value.code in ("unknown_function", "unsupported_join"), text
        assert words in caught.value.message, (text, caught.value.message)
        assert caught.value.message.startswith("Line 1, column "), (text, caught.value.message)


async def test_a_decimal_that_the_engine_cannot_calculate_with_tells_what_to_write(
    sql_client: SqlClient, site_world: World
) -> None:
    if (await sql_client.service.features()).wide_decimals:
        for case in NARROW:
            assert len(await sql_client.rows(case.sql)) == 1
        return
    faults = [found for case in NARROW if (found := await fault(sql_client, case, site_world))]
    assert not faults, "\n".join(faults)


async def test_features_are_what_the_engine_does(sql_client: SqlClient, filled: tuple[str, Store]) -> None:
    """Every listed function is either named by the engine or fails as unknown there: none is refused by mistake."""
    _, store = filled
    features = await sql_client.service.features()
    assert features.functions is not None
    missing = [
        function.name
        for family in sql_client.service.guard.functions.families.values()
        for function in family
        if not features.has_function(function.name)
    ]
    for name in missing:
        with pytest.raises(StoreFatal) as caught:
            await store.query(f"SELECT {name}()", timeout_s=5.0)
        assert caught.value.engine_code in UNKNOWN_FUNCTIONS, (name, caught.value.message)
