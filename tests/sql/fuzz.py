"""Mutates hostile and useful queries, and asks whether an answer ever holds more than the site's rows.

`python -m tests.sql.fuzz --seconds 60 [--seed N]` runs on the engine in process, in a
directory of its own; the suite runs a bounded number of the same mutations under hypothesis.
"""

# ruff: noqa: E501 (a query, and a case, is one line)
from __future__ import annotations

import argparse
import asyncio
import random
import re
import tempfile
import time
from pathlib import Path

from analytics_server.config import ClickhouseSection, Config
from analytics_server.errors import AnalyticsError
from analytics_server.store import make_store, migrate
from tests.sql.conftest import SqlClient, make_service
from tests.sql.hostile import FAMILIES, SIDE_CHANNELS
from tests.sql.test_hostile import is_foreign
from tests.sql.useful import QUERIES
from tests.sql.world import MINE, insert_world, make_world

_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|`[^`]*`|\w+|\s+|.", re.DOTALL)
MAX_CHARS = 2_000
SEEDS = [
    *(text for family, texts in FAMILIES.items() if family != "resource bombs" for text in texts),
    *SIDE_CHANNELS,
    *(query.sql for query in QUERIES),
]
WORDS = (
    "events", "sessions", "tokens", "saved", "system.tables", "site_id", "path", "props", "__row", "site", "'secret.example'",
    "(", ")", ",", ".", "*", "IN", "NOT", "AS", "WITH", "SELECT", "FROM", "UNION ALL", "JOIN", "ON 1", "ARRAY JOIN", "{x:String}",
    "GLOBAL", "FINAL", "SETTINGS", "FORMAT", "->", "::", "[", "]", "'", "`", "/*", "--\n", ";", "1", "\\", "\x00", "😀", "EXISTS",
    "analytics", "CANARY", "OVER ()", "LIMIT 1 BY", "EXCEPT", "REPLACE", "file", "url", "toFixedString", "intDiv", "1 = 1 OR",
    "COLUMNS('.*')", "APPLY(max)", "APPLY(x -> x)", "WITH RECURSIVE", "GROUPING SETS ((path), ())", "PREWHERE", "SAMPLE 1", "numbers(3)",
    "FETCH FIRST 1 ROWS ONLY", "sum(revenue_amount) / 2", "uniqState(path)", "uniqMerge", "EXTRACT(HOUR FROM", "ORDER BY 1",
)  # fmt: skip


def mutate(rand: random.Random) -> str:
    """A query made of one or two others, with pieces taken out, doubled, swapped and put in."""
    tokens = _TOKEN.findall(rand.choice(SEEDS))
    if rand.random() < 0.4:
        other = _TOKEN.findall(rand.choice(SEEDS))
        at, start = rand.randrange(len(tokens) + 1), rand.randrange(len(other) + 1)
        tokens[at : at + rand.randrange(6)] = other[start : start + rand.randrange(1, 20)]
    for _ in range(rand.randrange(4)):
        at = rand.randrange(len(tokens) + 1)
        match rand.randrange(4):
            case 0:
                del tokens[at : at + rand.randrange(1, 4)]
            case 1:
                tokens[at:at] = [" ", rand.choice(WORDS), " "]
            case 2:
                tokens[at:at] = tokens[at : at + rand.randrange(1, 8)]
            case _:
                end = rand.randrange(len(tokens) + 1)
                if at < len(tokens) and end < len(tokens):
                    tokens[at], tokens[end] = tokens[end], tokens[at]
    return "".join(tokens)[:MAX_CHARS]


async def check(sql_client: SqlClient, text: str) -> int:
    """Ask, and return the status. Raises `AssertionError` when something foreign shows, or something breaks."""
    try:
        answer, status = (await sql_client.raw(text, {"x": "x"} if "{x:String}" in text else {})).decode(), 200
    except AnalyticsError as error:
        answer, status = error.message, error.status
    assert status == 200 or 400 <= status < 500, (status, answer, text)
    shown = answer
    for word in {text, *_TOKEN.findall(text)}:
        if len(word) > 3:
            shown = shown.replace(word, "")
    assert not is_foreign(shown), (answer, text)
    return status


async def run(seconds: float, seed: int) -> dict[int, int]:
    """Ask mutations for a while; how many got which status."""
    rand = random.Random(seed)
    counts: dict[int, int] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        store = make_store(Config(clickhouse=ClickhouseSection(url=f"chdb://{Path(directory) / 'engine'}", threads=3)))
        await store.open()
        await migrate(store)
        await insert_world(store, *make_world())
        sql_client = SqlClient(make_service(store), "embedded")
        assert await sql_client.rows("SELECT count() > 0 FROM events") == [[1]]
        assert (await sql_client.ask("SELECT DISTINCT site_id FROM events"))["rows"] == [[MINE]]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            status = await check(sql_client, mutate(rand))
            counts[status] = counts.get(status, 0) + 1
        await sql_client.service.close()
        await store.close()
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    counts = asyncio.run(run(arguments.seconds, arguments.seed))
    print(", ".join(f"{count} × {status}" for status, count in sorted(counts.items())))


if __name__ == "__main__":
    main()
