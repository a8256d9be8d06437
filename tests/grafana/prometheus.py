"""A real Prometheus in a process of its own, on what `grafana/prometheus/` gives to one, and what Grafana asks it.

Only what a test can't wait for differs: it scrapes the test's server each second and evaluates as often.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml  # type: ignore[import-untyped]

from tests.server import own_port, wait_for

SHIPPED = Path(__file__).resolve().parents[2] / "grafana" / "prometheus"
SCRAPE_INTERVAL = "1s"
STOP_TIMEOUT_S = 20.0
REQUEST_TIMEOUT_S = 20.0
SOON = "soon"
"""The group of the copies of those rules that have to hold for minutes before they fire: they fire after seconds."""


def program(name: str) -> str:
    """Path of `prometheus` or `promtool`; the test is skipped without it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: install Prometheus (Debian: apt-get install prometheus)")
    return found


def promtool(*arguments: str) -> str:
    """What it says; it has to be content."""
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def configured(directory: Path, target: str) -> Path:
    """The shipped files, complete, in a directory: with the address of the test's server, and its pace."""
    directory.mkdir(parents=True, exist_ok=True)
    config = yaml.safe_load((SHIPPED / "scrape.yaml").read_text(encoding="utf-8"))
    (scraped,) = config["scrape_configs"]
    scraped |= {"scrape_interval": SCRAPE_INTERVAL, "scrape_timeout": SCRAPE_INTERVAL}
    scraped["static_configs"] = [{"targets": [target]}]
    config["global"] = {"evaluation_interval": SCRAPE_INTERVAL}
    shutil.copy(SHIPPED / "alerts.yaml", directory)
    (group,) = yaml.safe_load((SHIPPED / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    rules = [rule | {"for": "5s"} for rule in group["rules"] if "for" in rule]
    (directory / "soon.yaml").write_text(yaml.safe_dump({"groups": [{"name": SOON, "rules": rules}]}), encoding="utf-8")
    config["rule_files"].append("soon.yaml")
    path = directory / "prometheus.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


class RunningPrometheus:
    """One that answers; made by `running_prometheus`."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def ask(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The data of an answer below `/api/v1/`."""
        async with self._session.get(f"{self._url}/api/v1/{path}", params=params) as response:
            found = await response.json()
            assert found["status"] == "success", (path, params, found)
            assert not found.get("warnings"), (path, params, found)
            return found["data"]

    async def is_ready(self) -> bool:
        """Does it take questions?"""
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with self._session.get(f"{self._url}/-/ready") as response:
                return response.status == 200
        return False

    async def value(self, expression: str) -> float:
        """The one number that it gives now; 0 where there is none."""
        found = (await self.ask("query", {"query": expression}))["result"]
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else 0.0

    async def rules(self) -> list[dict[str, Any]]:
        """All rules, each with its group's name as `group`."""
        groups = (await self.ask("rules", {"type": "alert"}))["groups"]
        return [rule | {"group": group["name"]} for group in groups for rule in group["rules"]]

    async def firing(self) -> set[tuple[str, str]]:
        """Group and name of the rules that fire."""
        return {(rule["group"], rule["name"]) for rule in await self.rules() if rule["state"] == "firing"}

    async def label_values(self, query: str) -> list[str]:
        """What Grafana asks for a variable of the kind `label_values(SELECTOR, LABEL)`."""
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
        assert found is not None, query
        values: list[str] = await self.ask(f"label/{found[2]}/values", {"match[]": found[1]})
        return values


@contextlib.asynccontextmanager
async def running_prometheus(directory: Path, target: str) -> AsyncIterator[RunningPrometheus]:
    """One that scrapes `target` (host and port), until the end of the block."""
    address = f"127.0.0.1:{own_port()}"
    command = [
        program("prometheus"),
        f"--config.file={configured(directory, target)}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={address}",
    ]
    log = directory / "log"
    process = _started(command, log)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)) as session:
            running = RunningPrometheus(session, f"http://{address}")

            async def is_ready() -> bool:
                assert process.poll() is None, log.read_text(encoding="utf-8")
                return await running.is_ready()

            await wait_for(is_ready, what="Prometheus")
            yield running
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _started(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as written:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=written, stderr=written)
