"""Each profile at the routes that other programs ask: files, Grafana, ClickHouse's interface, assistants, a person's
export.

What is asked is made from the tables of `profiles/tables.py`; the sites hold events of before their profile was set.
"""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import urlencode

import msgspec
import pyarrow.parquet as parquet  # type: ignore[import-untyped]
import pytest

from analytics_server.model import COLUMN_NAMES, SESSION_ATTRIBUTES
from analytics_server.profiles.refusal import FORBIDDEN
from analytics_server.profiles.tables import PROFILES
from tests.mcp.assistant import call, post
from tests.privacy.people import exported
from tests.profiles.sites import NAMES, OLD, WHOLE, event, refused, site_of
from tests.server import Client, Reply

pytestmark = pytest.mark.asyncio(loop_scope="package")

RANGE = {"from": "2025-01-01T00:00:00Z", "to": "2035-01-01T00:00:00Z"}
EMPTY = ("", "0", 0, None)


def filters_by(dimension: str) -> list[Any]:
    """Filters that compare it, plainly and inside of others."""
    plain = ["is", dimension, ["10"]]
    return [[plain], [["not", plain]], [["or", [["is", "event:page", ["/"]], plain]]]]


# ---- files of events -------------------------------------------------------


@pytest.mark.parametrize("profile", NAMES)
async def test_files_of_events_leave_the_columns_out(client: Client, profile: str) -> None:
    site, hidden = site_of(profile), PROFILES[profile].hidden_columns
    address = f"/api/v1/export/events?site_id={site}&date_range={WHOLE}"
    wanted = [name for name in COLUMN_NAMES if name not in hidden]

    lines = (await client.call("GET", address)).body.splitlines()
    table = (await client.call("GET", f"{address}&format=csv")).body.splitlines()
    file = parquet.read_table(io.BytesIO((await client.call("GET", f"{address}&format=parquet")).body))

    assert len(lines) == len(table) - 1 == file.num_rows == 3
    assert all(list(msgspec.json.decode(line)) == wanted for line in lines)
    assert table[0].decode().replace('"', "").split(",") == file.column_names == wanted
    for name in hidden:
        await refused(client, "GET", f"{address}&columns=ts,{name}", None, profile)
    for dimension in sorted(PROFILES[profile].forbidden_dimensions):
        for filters in filters_by(dimension):
            encoded = urlencode({"filters": msgspec.json.encode(filters).decode()})
            await refused(client, "GET", f"{address}&{encoded}", None, profile)


# ---- Grafana ---------------------------------------------------------------


@pytest.mark.parametrize("profile", NAMES)
async def test_flat_reports_refuse_what_is_forbidden(client: Client, profile: str) -> None:
    site, table = site_of(profile), PROFILES[profile]

    async def asked(report: str, **parameters: str) -> None:
        address = urlencode({"site_id": site, "date_range": WHOLE, **parameters})
        await refused(client, "GET", f"/api/v1/flat/{report}?{address}", None, profile)

    for dimension in sorted(table.forbidden_dimensions):
        await asked("breakdown", dimension=dimension)
        await asked("trends", breakdown=dimension)
        await asked("funnel", funnel=dimension.replace(":", " "))
        for filters in filters_by(dimension):
            text = msgspec.json.encode(filters).decode()
            for report in ("totals", "trends"):
                await asked(report, filters=text)
            await asked("breakdown", dimension="event:page", filters=text)
            await asked("cohorts", by="session", filters=text)
    for metric in sorted(table.forbidden_metrics):
        for report in ("totals", "trends"):
            await asked(report, metrics=metric)
        await asked("breakdown", dimension="event:page", metrics=metric)
    if not table.by_user or not table.cohorts:
        await asked("cohorts", by="user")
    if not table.cohorts:
        await asked("cohorts", by="session")
    allowed = await client.call("GET", f"/api/v1/flat/totals?site_id={site}&date_range={WHOLE}")
    assert allowed.json == [{"visitors": 1}]


@pytest.mark.parametrize("profile", NAMES)
async def test_the_json_source_refuses_what_is_forbidden(client: Client, profile: str) -> None:
    site, table = site_of(profile), PROFILES[profile]

    def panel(metric: str, **payload: Any) -> dict[str, Any]:
        return {"range": RANGE, "targets": [{"refId": "A", "target": metric, "payload": {"site": site, **payload}}]}

    async def asked(body: dict[str, Any], path: str = "query") -> None:
        await refused(client, "POST", f"/api/grafana/{path}", body, profile)

    for dimension in sorted(table.forbidden_dimensions):
        for form in ("frame", "timeseries", "table"):
            await asked(panel("visitors", dimension=dimension, format=form))
            await asked(panel("visitors", filters=[["is", dimension, ["10"]]], format=form))
        await asked(panel("funnel", funnel=dimension.replace(":", " ")))
        ad_hoc = [{"key": dimension, "operator": "=", "value": "10"}]
        await asked({**panel("visitors"), "filters": ad_hoc})
        await asked({**panel("visitors"), "adhocFilters": ad_hoc})
        # What a dashboard's variables and the choices of its filters would list:
        variable = {"target": dimension, "site": site, "range": "all"}
        await asked({"payload": variable, "range": RANGE}, "variable")
        await asked({"target": msgspec.json.encode(variable).decode()}, "search")
        await asked({"key": dimension, "site": site, "payload": {"site": site}}, "tag-values")
    for metric in sorted(table.forbidden_metrics):
        await asked(panel(metric))
        await asked(panel(metric, format="table"))
    allowed = await client.call("POST", "/api/grafana/query", panel("visitors", format="table", range="all"))
    assert allowed.json[0]["rows"] == [[1]]


# ---- ClickHouse's interface ------------------------------------------------


@pytest.mark.parametrize("profile", NAMES)
async def test_clients_of_clickhouse_read_the_columns_as_empty(client: Client, profile: str) -> None:
    site, hidden = site_of(profile), PROFILES[profile].hidden_columns

    async def rows(text: str, path: str) -> list[dict[str, Any]]:
        reply = await client.call("GET", f"{path}?{urlencode({'database': site, 'query': f'{text} FORMAT JSON'})}")
        assert reply.status == 200, reply.body
        found: list[dict[str, Any]] = reply.json["data"]
        return found

    for path in ("/clickhouse/", "/"):
        for table in ("events", "sessions"):
            found = await rows(f"SELECT * FROM {table}", path)
            assert found
            for row in found:
                assert row["session_id"] == "old"
                assert not [name for name in hidden if row.get(name) not in EMPTY]
            for name in hidden & ({*SESSION_ATTRIBUTES, "user_id"} if table == "sessions" else set(COLUMN_NAMES)):
                counted = f"SELECT countIf(toString(t.{name}) NOT IN ('', '0')) AS n FROM {table} AS t"
                assert [int(row["n"]) for row in await rows(counted, path)] == [0]


# ---- assistants ------------------------------------------------------------


@pytest.mark.parametrize("profile", NAMES)
async def test_an_assistant_is_refused_what_is_forbidden(client: Client, profile: str) -> None:
    site, table = site_of(profile), PROFILES[profile]
    ranged = {"site_id": site, "date_range": WHOLE}
    steps = [{"name": "pageview"}, {"name": "signup"}]

    async def asked(tool: str, **arguments: Any) -> Reply:
        return await post(client, call(tool, **{**ranged, **arguments}), token=client_token)

    client_token = str((await client.call("POST", "/api/v1/tokens", {"role": "read"})).json["token"])

    async def is_refused(tool: str, **arguments: Any) -> None:
        reply = await asked(tool, **arguments)
        result = reply.json["result"]
        assert result["isError"], reply.body
        assert FORBIDDEN in str(result["content"]), reply.body

    for dimension in sorted(table.forbidden_dimensions):
        plain = [["is", dimension, ["10"]]]
        await is_refused("query", metrics=["visitors"], dimensions=[dimension])
        await is_refused("query", metrics=["visitors"], filters=plain)
        await is_refused("trends", breakdown=dimension)
        await is_refused("funnel", steps=steps, breakdown=dimension)
        await is_refused("funnel", steps=steps, filters=plain)
        await is_refused("funnel", funnel=dimension.replace(":", " "))
        await is_refused("paths", filters=plain)
        await is_refused("experiment_results", experiment="cta", goal="signup", filters=plain)
    for metric in sorted(table.forbidden_metrics):
        await is_refused("query", metrics=[metric])
        await is_refused("trends", metrics=[metric])
    if not table.cohorts or not table.by_user:
        await is_refused("cohorts", by="user")
    for name in sorted(table.hidden_columns):
        text = f"SELECT DISTINCT toString({name}) AS v FROM events"
        reply = await post(client, call("sql", site_id=site, query=text), token=client_token)
        answer = reply.json["result"]["structuredContent"]["answer"]
        assert all(str(value) in ("", "0") for row in answer["rows"] for value in row), reply.body
    live = await post(client, call("live", site_id=site), token=client_token)
    assert not live.json["result"]["isError"]
    if "source" in table.hidden_columns:
        assert OLD["referrer"].split("/")[2] not in live.body.decode()


# ---- the person's export ---------------------------------------------------


@pytest.mark.parametrize("profile", NAMES)
async def test_a_person_s_export_shows_that_nothing_forbidden_is_stored(client: Client, profile: str) -> None:
    """It holds all that is stored, without regard to the profile: of events under the profile nothing forbidden."""
    site, table, person = f"export-{site_of(profile)}", PROFILES[profile], f"person-of-{profile}"
    await client.call("POST", "/api/v1/sites", {"site_id": site, "profile": profile})
    assert (await client.send(event(site, user_id=person), trusted=True)).json["accepted"] == 1

    rows = [msgspec.json.decode(line) for line in await exported(client, person)]

    assert bool(rows) == table.by_user
    for row in rows:
        assert row["site_id"] == site
        assert not [name for name in table.hidden_columns if row.get(name) not in EMPTY], row
