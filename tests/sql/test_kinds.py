"""Each kind of SQL that analysts write answers rightly, or is refused with what to write instead, on both engines."""

from __future__ import annotations

import pytest

from analytics_server.errors import AnalyticsError
from tests.sql.conftest import Asker
from tests.sql.kinds import KINDS, Instead, Known
from tests.sql.test_useful import is_close
from tests.sql.world import World


async def fault(asker: Asker, case: Known | Instead, world: World) -> str:
    """What is wrong with the answer to one text; empty when nothing is."""
    try:
        rows = await asker.rows(case.sql)
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
async def test_kind_of_sql_answers_or_tells_what_to_write(asker: Asker, site_world: World, kind: str) -> None:
    faults = [found for case in KINDS[kind] if (found := await fault(asker, case, site_world))]
    assert not faults, "\n".join(faults)
