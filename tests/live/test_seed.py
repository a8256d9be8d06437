"""Seeding the hub from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from analytics_server.live.hub import Hub
from analytics_server.live.seed import seed_hub
from analytics_server.store.protocol import ResultSet
from tests.live.rows import START, Clock


@dataclass(slots=True)
class FakeStore:
    rows: list[tuple[object, ...]]
    parameters: list[Mapping[str, object] | None] = field(default_factory=list)

    async def query(
        self,
        sql: str,
        parameters: Mapping[str, object] | None = None,
        *,
        settings: Mapping[str, str | int] | None = None,
        timeout_s: float = 30.0,
    ) -> ResultSet:
        del sql, settings, timeout_s
        self.parameters.append(parameters)
        return ResultSet(columns=(), rows=self.rows)


async def test_seed_asks_for_the_window_and_fills_the_hub() -> None:
    us = int(START * 1_000_000)
    store = FakeStore(
        rows=[
            ("a.example", us - 1_000_000, "signup", 2, "/thanks", "", "", 1),
            ("a.example", us - 90_000_000, "pageview", 1, "/", "Google", "DE", 4),
        ]
    )
    live = Hub(Clock())
    assert await seed_hub(live, store, START) == 2
    assert store.parameters == [{"since": us - 1_800_000_000, "limit": 200_000}]
    snapshot = live.snapshot("a.example")
    assert snapshot["visitors"] == 2
    assert snapshot["pageviews_per_minute"] == [0] * 27 + [4, 0, 0]
    assert snapshot["sources"] == [{"source": "Google", "visitors": 1}]
