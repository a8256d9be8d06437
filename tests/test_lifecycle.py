"""Daily work: once a day where it was done, an hour later where it failed or was another server's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry

from analytics_server.errors import StoreError
from analytics_server.lifecycle import DAY_S, RETRY_S, DailyWork, daily_tasks


def ending(*outcomes: bool | Exception) -> Callable[[], Awaitable[bool]]:
    left = list(outcomes)

    async def work() -> bool:
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return work


async def pauses_of(
    monkeypatch: pytest.MonkeyPatch, registry: CollectorRegistry, *outcomes: bool | Exception
) -> list[float]:
    """Run work that ends so, until it has paused as often; returns the pauses in seconds."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == len(outcomes):
            raise asyncio.CancelledError

    monkeypatch.setattr("analytics_server.lifecycle.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await DailyWork(registry).run("purge", ending(*outcomes))
    return pauses


def counted(registry: CollectorRegistry, outcome: str) -> float | None:
    return registry.get_sample_value("daily_work_total", {"work": "purge", "outcome": outcome})


async def test_work_that_was_done_rests_for_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    assert await pauses_of(monkeypatch, registry, True, True) == [DAY_S, DAY_S]
    assert counted(registry, "done") == 2


async def test_work_in_another_servers_hands_is_looked_at_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    assert await pauses_of(monkeypatch, registry, False, True) == [RETRY_S, DAY_S]
    assert counted(registry, "elsewhere") == counted(registry, "done") == 1


@pytest.mark.parametrize("error", [StoreError("gone"), OSError("disk")])
async def test_work_that_failed_is_tried_again_sooner(
    monkeypatch: pytest.MonkeyPatch, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    assert await pauses_of(monkeypatch, registry, error, True) == [RETRY_S, DAY_S]
    assert counted(registry, "failed") == 1
    assert "daily work failed, will try again" in caplog.text


def test_each_piece_of_daily_work_is_a_task_of_its_name() -> None:
    tasks = list(daily_tasks(CollectorRegistry(), ("a", ending(True)), ("b", ending(True))))
    assert [name for _, name in tasks] == ["a", "b"]
