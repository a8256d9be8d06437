"""Mutations of what is hostile and what is useful: only the site's rows, or a refusal."""

from __future__ import annotations

import asyncio
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_server.errors import RequestError
from analytics_server.sql.guard import Guard
from analytics_server.store import Store
from tests.sql.conftest import SqlClient, make_service
from tests.sql.fuzz import check, mutate


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_mutated_query_sees_only_the_site(filled: tuple[str, Store], seed: int) -> None:
    kind, store = filled
    text = mutate(random.Random(seed))

    async def ask() -> None:
        service = make_service(store, timeout_s=1.0)
        await check(SqlClient(service, kind), text)
        await service.close()

    asyncio.run(ask())


@settings(max_examples=400, deadline=None)
@given(text=st.one_of(st.text(max_size=200), st.integers(0, 2**32).map(lambda seed: mutate(random.Random(seed)))))
def test_any_text_is_printed_or_refused(guard: Guard, text: str) -> None:
    try:
        guarded = guard.check(text, {}, sites={"mine.example": ()}, database="d")
    except RequestError:
        return
    tables = guarded.sql.count("`__row` ") - guarded.sql.count(
        "`__row` FINAL PREWHERE `__row`.`site_id` = {site:String}"
    )
    assert tables == guarded.sql.count("`__row` PREWHERE `__row`.`site_id` = {site:String}")
