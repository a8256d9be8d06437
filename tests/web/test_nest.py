"""The NestJS part in a real Nest application of each version, on Express and on Fastify, into a real server."""

from __future__ import annotations

import signal
from pathlib import Path
from uuid import uuid4

import aiohttp
import msgspec
import pytest

from tests.server import USER_AGENT, Client, RunningServer
from tests.web.process import NodeProcess
from tests.web.workspace import WEB, run

pytestmark = pytest.mark.asyncio(loop_scope="session")

APPLICATION = Path(__file__).with_name("nest")
PACKAGES = {
    "10": APPLICATION / "10" / "node_modules",
    "11": APPLICATION / "11" / "node_modules",
    "12": WEB / "node_modules",
}
PAGE = "https://shop.example/checkout"
VISITOR = {"User-Agent": USER_AGENT, "X-Forwarded-For": "198.51.100.9", "X-Forwarded-Proto": "https"}


@pytest.fixture(scope="module", params=PACKAGES)
def application(request: pytest.FixtureRequest, modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    packages = PACKAGES[request.param]
    if not (packages / "installed").is_file():
        pytest.skip(f"the packages of {packages.parent} are not installed: `make test` does it where npm is there")
    core = msgspec.json.decode((packages / "@nestjs" / "core" / "package.json").read_bytes())
    assert core["version"].split(".")[0] == request.param
    folder = tmp_path_factory.mktemp("nest")
    check(packages, modules, folder)
    (folder / "node_modules").symlink_to(packages)
    run(str(APPLICATION / "build.mjs"), str(WEB), str(modules), str(folder / "app.mjs"))
    return folder / "app.mjs"


def check(packages: Path, modules: Path, folder: Path) -> None:
    """Fails where the types of the application do not hold with these packages."""
    options = {
        "extends": str(WEB / "client" / "tsconfig.json"),
        "compilerOptions": {
            "skipLibCheck": True,
            "experimentalDecorators": True,
            "paths": {
                "@analytics/client/*": [str(modules / "*" / "index.d.ts")],
                "*": [str(packages / "*")],
            },
        },
        "include": [str(APPLICATION / "app.ts")],
    }
    (folder / "tsconfig.json").write_bytes(msgspec.json.encode(options))
    run("node_modules/typescript/bin/tsc", "-p", str(folder))


@pytest.mark.parametrize("adapter", ["express", "fastify"])
async def test_requests_become_events(application: Path, server: RunningServer, adapter: str) -> None:
    site = f"site-{uuid4().hex[:12]}.example"
    # Nothing would leave by itself: the application's end sends it.
    config = {"apiBaseUrl": server.url, "appName": site, "token": server.token, "flushIntervalMs": 3_600_000}
    arguments = (msgspec.json.encode(config).decode(), adapter)
    async with NodeProcess(*arguments, script=application) as nest, aiohttp.ClientSession(headers=VISITOR) as browser:
        address = f"http://127.0.0.1:{(await nest.said('port'))['port']}"

        async def ask(path: str, **headers: str) -> int:
            async with browser.get(address + path, headers={"Host": "shop.example", **headers}) as answer:
                await answer.read()
                return answer.status

        assert await ask("/orders/7?utm_source=mail", Referer="https://www.google.com/") == 200
        # A page of another host calls it.
        called = {"Referer": PAGE, "X-User": "u-1", "Sec-Fetch-Mode": "cors"}
        async with browser.post(f"{address}/orders", json={"plan": "pro"}, headers=called) as answer:
            assert answer.status == 201
        assert await ask("/fails") == 400
        assert await ask("/broken") == 200
        assert await ask("/asked") == 200
        assert await ask("/refused") == 403
        assert await ask("/health") == 200
        assert await ask("/page") == 200
        assert await ask("/page", DNT="1") == 200
        assert await ask("/missing") == 404
        nest.send_signal(signal.SIGTERM)
        code, _, errors = await nest.ended()
    assert (code, errors) == (-signal.SIGTERM, "")

    async with Client(server) as client:
        await client.flushed()
        names = await client.query(site, ["events"], ["event:name"])
        assert names == {
            ("pageview",): (2,),
            ("order_placed",): (1,),
            ("seen_too",): (1,),
            ("tried",): (1,),
            ("asked",): (1,),
            ("request",): (6,),
        }
        views = await client.query(site, ["events"], ["event:name", "event:hostname", "event:page"])
        assert [views["pageview", "shop.example", path] for path in ("/orders/7", "/page")] == [(1,), (1,)]
        assert {host for _, host, _ in views} == {"shop.example"}
        asked = ["event:props:method", "event:props:route", "event:props:status", "event:props:outcome"]
        requests = await client.query(site, ["events"], asked)
        assert {row: count for row, count in requests.items() if row[0]} == {
            ("GET", "/orders/:id", "200", "ok"): (1,),
            ("POST", "/orders", "201", "ok"): (1,),
            ("GET", "/fails", "400", "error"): (1,),
            ("GET", "/broken", "200", "ok"): (1,),
            ("GET", "/asked", "200", "ok"): (1,),
            ("GET", "/page", "200", "ok"): (1,),
        }
        placed = await client.query(site, ["events"], ["event:name", "event:page", "event:props:plan"])
        assert placed["order_placed", "/checkout", "pro"] == (1,)
