"""The table of formats: each has its route, its preflight and a description."""

from __future__ import annotations

import pytest

from analytics_server.collect.address import AddressResolver
from analytics_server.collect.formats.table import FORMATS, Format
from analytics_server.collect.routes import CollectRoutes
from tests.collect.world import World


def test_names_and_paths_stand_once() -> None:
    assert len({format.name for format in FORMATS}) == len({format.suffix for format in FORMATS}) == len(FORMATS)


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
def test_each_format_is_a_described_route_with_a_preflight(format: Format) -> None:
    endpoints = CollectRoutes(
        World().collector, AddressResolver(()), b"", "/in", "/a.js", held_bytes=1, body_timeout_s=1.0
    ).endpoints()
    described = {(endpoint.method, endpoint.path) for endpoint in endpoints}
    assert {(format.method, f"/in{format.suffix}"), ("OPTIONS", f"/in{format.suffix}")} <= described


@pytest.mark.parametrize("format", [format for format in FORMATS if format.query_to_body is None])
async def test_a_format_of_bodies_bounds_its_events(format: Format) -> None:
    world = World(event_bytes=1_000, batch_events=1)
    one = b'{"site":"a.example","appName":"a.example","name":"x","type":"x","x":"' + b"a" * 1_000 + b'"}'
    body = b'{"events":[{},{}]}' if format.name == "batch" else one
    assert (await world.send(body, kind=format.name)).status == 413
