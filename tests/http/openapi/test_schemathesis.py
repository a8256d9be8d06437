"""Schemathesis asks a real server what its document allows, and what it does not.

Runs as its own program against a server of its own, since it deletes what it finds. What its
checks can't know of this API is said in `settings`; nothing else is left out.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import running
from tests.http.openapi.conftest import SITE, fill
from tests.http.openapi.document import Described, Document
from tests.server import Client, RunningServer

EXAMPLES = 3
SEED = 20261123
TIMEOUT_S = 480
SAID_BY_THE_SCHEMA = {"bad_body", "bad_json", "bad_name", "bad_request", "bad_saved", "unknown_key"}
"""Codes of requests that the schemas forbid, or that generated requests don't come to.

Not bad_site: which letters of all scripts make a site's id is IDNA's to say, and no pattern's."""
POSITIVE = ["2xx", "3xx", "401", "403", "404", "409", "429", "5xx"]
NEGATIVE = ["400", "401", "403", "404", "405", "409", "413", "415"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("schemathesis")) as server:
        asyncio.run(fill(server))
        yield server


def has_rules(operation: Described) -> bool:
    """May it refuse with 400 what fits its schema: a time zone that is none, parts that don't go together?"""
    codes = operation.spec["responses"].get("400", {}).get("x-error-codes", [])
    return not set(codes) <= SAID_BY_THE_SCHEMA


def settings(document: Document, token: str) -> str:
    """What schemathesis must know."""
    rules = [operation.name for operation in document.operations if has_rules(operation)]
    beacons = [operation.name for operation in document.operations if operation.spec["tags"] == ["collect"]]
    foreign = [operation.name for operation in document.operations if operation.name.startswith("clickhouse_")]
    return f"""
headers = {{ Authorization = "Bearer {token}" }}

[dictionaries.sites]
values = ["{SITE}"]

[dictionaries.moments]
values = ["2026-01-01", "2026-03-29T02:30", "2026-11-01T12:00:00+01:00"]

[parameters]
"query.site_id" = {{ dictionary = "sites", probability = 0.8 }}
"body.site_id" = {{ dictionary = "sites", probability = 0.8 }}
"body.request.site_id" = {{ dictionary = "sites", probability = 0.8 }}
"body.date_range[*]" = {{ dictionary = "moments", probability = 0.5 }}

[checks]
negative_data_rejection.expected-statuses = {NEGATIVE}

[phases.stateful]
generation.max-examples = 20

# Well-formed questions may still have no meaning: 400 with a code.
[[operations]]
include-operation-id = {rules}
checks.positive_data_acceptance.expected-statuses = {[*POSITIVE, "400"]}

# A bad event is rejected in an answer of 202, so that it spoils no other.
[[operations]]
include-operation-id = {beacons}
checks.negative_data_rejection.enabled = false

# Parameters of any name are settings to clients of ClickHouse, and unknown ones are dropped.
[[operations]]
include-operation-id = {foreign}
checks.negative_data_rejection.enabled = false

# A WebSocket, which it does not speak.
[[operations]]
include-operation-id = "watch_live"
enabled = false
"""


async def described(server: RunningServer) -> Document:
    async with Client(server) as client:
        return Document((await client.get("/openapi.json")).json)


@pytest.mark.timeout(TIMEOUT_S + 30)
def test_the_server_does_what_its_document_says(server: RunningServer, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(settings(asyncio.run(described(server)), server.token), encoding="utf-8")
    command = f"""
        schemathesis.cli --config-file {config} run {server.url}/openapi.json --url {server.url}
        --max-examples {EXAMPLES} --seed {SEED} --continue-on-failure --generation-database none --no-color
    """
    done = subprocess.run(
        [sys.executable, "-m", *command.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated is not None, done.stdout
    assert int(generated[1]) > 1_000, "hardly anything was asked"
