"""What only the engine in process has: one path per process, one process per path."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from analytics_server.config import ClickhouseSection, Config, ServerSection
from analytics_server.errors import AnalyticsError, ConfigError, StoreFatal
from analytics_server.store import make_store

OPEN = """
import asyncio, sys
from analytics_server.config import ClickhouseSection, Config, ServerSection
from analytics_server.errors import AnalyticsError
from analytics_server.store import make_store

try:
    asyncio.run(make_store(Config(clickhouse=ClickhouseSection(url="chdb://" + sys.argv[1]))).open())
except AnalyticsError as error:
    print(error.message)
    sys.exit(3)
"""


def embedded(path: Path) -> Config:
    return Config(clickhouse=ClickhouseSection(url=f"chdb://{path}", database="embedded_test"))


async def test_refuses_a_second_path_in_one_process(embedded_path: Path, tmp_path: Path) -> None:
    first = make_store(embedded(embedded_path))
    await first.open()
    second = make_store(embedded(tmp_path / "other"))
    with pytest.raises((StoreFatal, ConfigError)) as caught:
        await second.open()
    assert str(embedded_path) in caught.value.message
    assert str(tmp_path / "other") in caught.value.message
    await second.close()
    assert await first.ping()
    await first.close()


async def test_refuses_a_path_that_another_process_uses(embedded_path: Path) -> None:
    first = make_store(embedded(embedded_path))
    await first.open()
    other = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-c", OPEN, str(embedded_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert other.returncode == 3, other.stderr
    assert str(embedded_path) in other.stdout
    await first.close()


async def test_creates_its_directory(embedded_path: Path) -> None:
    store = make_store(embedded(embedded_path))
    assert (await store.open()).location == str(embedded_path)
    await store.close()


def test_lets_nobody_else_on_the_machine_into_its_directory(tmp_path: Path) -> None:
    """The engine makes its files readable to all, and the salts lie among them."""
    path = tmp_path / "data" / "clickhouse"
    subprocess.run([sys.executable, "-c", OPEN, str(path)], umask=0o022, timeout=60, check=True)
    assert path.stat().st_mode & 0o777 == 0o700


async def test_a_table_a_failed_query_read_can_be_dropped(embedded_path: Path) -> None:
    """A handle keeps the locks of a failed query until it is used again: it must not be kept."""
    store = make_store(embedded(embedded_path))
    await store.open()
    await store.command("CREATE OR REPLACE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    await store.insert("t", ("a",), [list(range(100_000))])
    with pytest.raises(AnalyticsError):
        await store.query("SELECT throwIf(a = 99999) FROM t", settings={"max_threads": 1})
    other = make_store(embedded(embedded_path))
    await other.open()
    left = await other.query(
        "SELECT count() FROM system.processes WHERE query LIKE '%throwIf(a%' AND query NOT LIKE '%processes%'"
    )
    assert left.rows == [(0,)]
    await other.command("DROP TABLE t")
    await other.close()
    await store.close()


async def test_blocks_on_their_way_in_stay_in_the_engine_s_directory(
    embedded_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """clickhouse-connect writes each insert to a file first; a killed process must leave none elsewhere."""
    seen: list[str] = []
    made = tempfile.NamedTemporaryFile

    def noting(**wanted: Any) -> Any:
        file = made(**wanted)
        seen.append(str(Path(file.name).parent))
        return file

    (embedded_path / "inserts").mkdir(exist_ok=True)
    (embedded_path / "inserts" / "left.native").write_bytes(b"of a killed process")
    monkeypatch.setattr("analytics_server.store.engines.embedded.tempfile.NamedTemporaryFile", noting)
    store = make_store(Config(clickhouse=ClickhouseSection(url=f"chdb://{embedded_path}")))
    await store.open()
    await store.command("CREATE TABLE IF NOT EXISTS on_its_way (n UInt64) ENGINE = Memory")
    await store.insert("on_its_way", ["n"], [[1, 2, 3]])
    await store.command("DROP TABLE on_its_way")
    await store.close()

    assert seen == [str(embedded_path / "inserts")]
    assert list((embedded_path / "inserts").iterdir()) == []


def test_refuses_a_directory_that_the_engine_would_cut_off(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="options behind"):
        make_store(Config(server=ServerSection(data_dir=str(tmp_path / "what?"))))
