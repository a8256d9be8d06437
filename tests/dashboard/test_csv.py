"""Lists saved as CSV: every row of every page, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.async_api import Browser, Page, expect

from analytics_server.http.streams.csv_cells import HarmlessCells
from tests.dashboard.conftest import dashboard_page
from tests.dashboard.test_modules import call
from tests.dashboard.traffic import CHROME
from tests.server import Client, RunningServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

SITE = "lists.example"
SOURCES = ("=1+1", "+a", "-b", "@c", 'quoted "d"', "e, f", *(f"source {number}" for number in range(20)))
TEXTS = (
    *("=a", "+a", "-a", "@a", " =a", "\t", "\ra", "\na", "'=a", '"=a', "\u00a0=a", "\u200b-a", "\ufeff@a", "\u3000=a"),
    *("\uff1da", "\uff0ba", "\uff0da", "\uff20a", "\ufe62a", "\ufe63a", "\ufe66a", "\ufe6ba", "\u2212a"),
    *("", "a", "a=b", "a-b", "ä", '"', "'a", "x\ny", "1", "-1"),
)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that answers ten rows at a time."""
    settings = {"ingest_flush_interval_ms": "100", "limits_query_rows": "10"}
    with RunningServer(tmp_path_factory.mktemp("narrow"), settings) as server:
        yield server


def served(text: str) -> str:
    """The cell as the server's own files hold it."""
    quoted = text.replace('"', '""')
    cells = HarmlessCells()
    line = cells.feed(f'"{quoted}"\n'.encode()) + cells.end()
    return line.decode()[:-1]


async def saved(page: Page, folder: Path) -> tuple[str, list[list[str]]]:
    """The file's name and rows."""
    dialog = page.get_by_role("dialog")
    async with page.expect_download() as waiting:
        await dialog.get_by_role("button", name="CSV").click()
    download = await waiting.value
    await download.save_as(folder / "list.csv")
    text = (folder / "list.csv").read_bytes().decode("utf-8-sig")
    assert text.endswith("\r\n")
    return download.suggested_filename, list(csv.reader(io.StringIO(text, newline="")))


async def test_all_rows_of_a_list_and_its_search_are_saved(
    browser: Browser, narrow: RunningServer, tmp_path: Path
) -> None:
    events: list[dict[str, Any]] = [
        {
            "site": SITE,
            "name": "pageview",
            "url": f"https://{SITE}/?{urlencode({'utm_source': source})}",
            "user_agent": CHROME,
            "ip": f"10.0.0.{number}",
        }
        for number, source in enumerate(SOURCES)
    ]
    async with Client(narrow) as client:
        assert (await client.send({"events": events}, trusted=True)).json["rejected"] == []
        await client.kept(SITE, len(events))
    async with dashboard_page(browser) as page:
        await page.goto(f"{narrow.url}/dashboard?site={SITE}#token={narrow.token}")
        await page.get_by_role("region", name="Sources", exact=True).get_by_role("button", name="Details").click()
        dialog = page.get_by_role("dialog", name="Sources: all rows")
        await expect(dialog.get_by_text(f"of {len(SOURCES)}")).to_be_visible()
        name, (head, *rows) = await saved(page, tmp_path)
        assert (name, head) == (f"{SITE} Sources.csv", ["Source", "Visitors", "Sessions", "Bounce rate", "Duration"])
        assert sorted(row[0] for row in rows) == sorted(
            f"'{source}" if source[0] in "=+-@" else source for source in SOURCES
        )
        assert {tuple(row[1:4]) for row in rows} == {("1", "1", "100")}
        await dialog.get_by_role("searchbox").fill("source 1")
        await expect(dialog.get_by_text("of 11")).to_be_visible()
        _, (_, *rows) = await saved(page, tmp_path)
        assert {row[0] for row in rows} == {source for source in SOURCES if "source 1" in source}


async def test_cells_are_those_of_the_servers_own_files(browser: Browser, narrow: RunningServer) -> None:
    async with dashboard_page(browser) as page:
        await page.goto(f"{narrow.url}/dashboard#token={narrow.token}")
        text = await call(page, "csv", "csvOf", [[one, -1, None] for one in TEXTS])
    assert text == "".join(f"{served(one)},-1,\r\n" for one in TEXTS)
