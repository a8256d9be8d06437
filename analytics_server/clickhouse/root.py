"""ClickHouse's HTTP interface at the root of the port, for clients that know a host and a port but no path.

The root is the dashboard's too: a GET is a statement only where it has the parameter `query`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analytics_server.clickhouse.routes import question, say_ok, sign_of_life
from analytics_server.clickhouse.service import ClickhouseService
from analytics_server.http.endpoint import Endpoint

ROOT = "/"


def with_root(others: Sequence[Endpoint], service: ClickhouseService) -> list[Endpoint]:
    """The endpoints and those at the root, if `[clickhouse_api] at_root` is on.

    `GET /` without a statement stays what it is; where nothing answers it, it is a sign of life. A tracker script that
    lies at `/ping`, or the interface itself, stays there.
    """
    if not service.section.at_root:
        return list(others)
    asked = question(service, "GET", ROOT, "clickhouse_get_root")
    alive = sign_of_life(f"{ROOT}ping", "clickhouse_ping_root")
    page = next((one for one in others if one.route == asked.route), None)
    if page is None:
        asked = replace(asked, otherwise=say_ok, allow_head=True)
    else:
        asked = replace(
            asked,
            summary=f"{asked.summary}, or: {page.summary[0].lower()}{page.summary[1:]}",
            replies=(*asked.replies, *page.replies),
            otherwise=page.serve,
            allow_head=True,
        )
    return [
        *(one for one in others if one is not page),
        asked,
        question(service, "POST", ROOT, "clickhouse_post_root"),
        *([] if any(one.route == alive.route for one in others) else [alive]),
    ]
