"""The commands for dead letters: what they print, what they refuse, and their exit codes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import msgspec
import pytest
from click.testing import CliRunner, Result
from prometheus_client import CollectorRegistry

from analytics_server.cli import dead_letters as cli_dead_letters
from analytics_server.cli.main import cli
from analytics_server.config import Config
from analytics_server.errors import AnalyticsError, StoreRetryable, WalError
from analytics_server.ingest.flush.dead_letters import Cause, letter_id, read_all, write_note, write_rows
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal.log import Wal
from analytics_server.ingest.wal.segment import frame_head, head_bytes
from analytics_server.store import Store
from tests.ingest.fake_store import POISON, FakeStore
from tests.ingest.flush.test_flusher_life import row

FIRST, SECOND = 77 << 22, 78 << 22


class OpenStore(FakeStore):
    """The fake that counts by batch; `open` fails when ClickHouse is away."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.by_batch: dict[int, int] = {}
        self.recorded: list[object] = []
        """How many events each entry of the audit log tells."""

    async def open(self) -> None:
        if self.away:
            raise StoreRetryable("connection refused")

    def stored(self, batch_id: int, month: int) -> int:
        return self.by_batch.get(batch_id, 0)

    def keep(self, batch_id: int, month: int, titles: list[str]) -> None:
        self.by_batch[batch_id] = len(titles)
        super().keep(batch_id, month, titles)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> OpenStore:
    """ClickHouse behind `retry`."""
    made = OpenStore()

    async def migrated(store: Store, *, cluster: str) -> list[object]:
        return []

    monkeypatch.setattr(cli_dead_letters, "make_store", lambda config: cast(Store, made))

    async def recorded(*arguments: object, **named: object) -> None:
        made.recorded.append(named["rows"])

    monkeypatch.setattr(cli_dead_letters, "migrate", migrated)
    monkeypatch.setattr(cli_dead_letters, "record", recorded)
    return made


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANALYTICS_SERVER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ANALYTICS_INGEST_RETRY_MAX_S", "0.01")
    monkeypatch.delenv("ANALYTICS_CONFIG", raising=False)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["dead-letters", *arguments])


def letters(data_dir: Path) -> Path:
    return data_dir / "dead-letters"


def refuse(data_dir: Path, batch_id: int, *titles: str) -> None:
    """A letter with rows refused of a batch."""
    cause = Cause(error="StoreFatal", engine_code=469, detail="constraint")
    refused = dict.fromkeys(range(len(titles)), cause)
    write_rows(letters(data_dir), batch_id, 1_000, refused, [row(title=title) for title in titles], 1_800_000_000.0)


def segment(directory: Path, batch_id: int, *titles: str) -> Path:
    rows = [msgspec.msgpack.encode(row(title=title)) for title in titles]
    payload = [b"\xdd" + len(rows).to_bytes(4, "big"), *rows]
    path = directory / f"{batch_id:020d}.wal"
    directory.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join([head_bytes(batch_id, 1), frame_head(1, payload), *payload]))
    return path


@pytest.mark.parametrize("command", ["list", "retry", "export"])
def test_without_letters_there_is_nothing_to_do(data_dir: Path, store: OpenStore, command: str) -> None:
    result = run(command, *(() if command == "list" else ("--all",)))

    assert result.exit_code == 0
    assert result.output == ("" if command == "export" else "There are no dead letters.\n")


def test_list_says_how_many_and_why(data_dir: Path) -> None:
    refuse(data_dir, FIRST, "secret", "b")
    write_note(letters(data_dir), SECOND, "partly_stored", events=3, batch_events=9, cause=None, now=1.8e9)
    segment(letters(data_dir), SECOND, "c")
    result = run("list")

    assert result.exit_code == 0
    head, first, second, total = result.output.splitlines()
    assert head.split() == ["NAME", "WRITTEN", "EVENTS", "OF", "WHY"]
    assert first.split()[1:4] == ["2027-01-15T08:00:00Z", "2", "1000"]
    assert first.endswith("ClickHouse refused them (StoreFatal 469)")
    assert second.split()[0] == f"{SECOND:020d}"
    assert second.endswith("ClickHouse holds only a part of the batch")
    assert total == "5 events are not stored."
    assert "secret" not in result.output


def test_list_as_json(data_dir: Path) -> None:
    refuse(data_dir, FIRST, "a")
    (letter,) = msgspec.json.decode(run("list", "--json").output)

    assert letter["batch_id"] == str(FIRST)
    assert (letter["kind"], letter["reason"], letter["events"]) == ("rows", "refused", 1)
    assert letter["causes"] == [{"error": "StoreFatal", "engine_code": 469, "detail": "constraint"}]
    assert Path(letter["file"]).is_file()


def test_export_writes_one_object_a_row(data_dir: Path, tmp_path: Path) -> None:
    refuse(data_dir, FIRST, "a", "b")
    refuse(data_dir, SECOND, "c")
    name = read_all(letters(data_dir))[0].name
    target = tmp_path / "out.ndjson"

    assert run("export", name[:-3], "--output", str(target)).exit_code == 0
    assert [msgspec.json.decode(line)["title"] for line in target.read_bytes().splitlines()] == ["a", "b"]
    everything = [msgspec.json.decode(line) for line in run("export", "--all").output.splitlines()]
    assert [(row["title"], row["_error"]) for row in everything] == [(title, "StoreFatal") for title in "abc"]
    assert len(read_all(letters(data_dir))) == 2


@pytest.mark.parametrize("arguments", [(), ("9",), ("0",)], ids=["none", "unknown", "ambiguous"])
@pytest.mark.parametrize("command", ["retry", "export"])
def test_a_letter_must_be_named_clearly(data_dir: Path, command: str, arguments: tuple[str, ...]) -> None:
    refuse(data_dir, FIRST, "a")
    refuse(data_dir, SECOND, "b")
    result = run(command, *arguments)

    assert result.exit_code == 2
    assert "dead-letters list" in result.output
    assert len(read_all(letters(data_dir))) == 2


def test_retry_delivers_a_letter_once(data_dir: Path, store: OpenStore) -> None:
    refuse(data_dir, FIRST, "a", "b")
    result = run("retry", "--all")

    assert result.exit_code == 0, result.output
    assert "Everything is in ClickHouse." in result.output
    assert store.titles == ["a", "b"]
    assert store.calls == ["end", "count", "insert", "close"]
    assert store.recorded == [2]
    assert list(letters(data_dir).iterdir()) == []
    assert list((data_dir / "wal").glob("*.wal")) == []


def test_retry_after_a_crash_counts_before_it_sends(data_dir: Path, store: OpenStore) -> None:
    refuse(data_dir, FIRST, "a", "b")
    store.by_batch[letter_id(FIRST)] = 2  # an earlier retry stored them and died

    assert run("retry", "--all").exit_code == 0
    assert store.calls == ["end", "count", "close"]


def test_retry_on_a_cluster_asks_all_its_replicas(
    data_dir: Path, store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANALYTICS_CLICKHOUSE_CLUSTER", "near")
    monkeypatch.setenv("ANALYTICS_CLICKHOUSE_URL", "http://127.0.0.1:1/")
    refuse(data_dir, FIRST, "a", "b")

    assert run("retry", "--all").exit_code == 0
    assert store.calls == ["count", "end", "count", "insert", "close"]
    assert ["near" in sql for sql in store.asked if "toYYYYMM" in sql] == [True, True]


def test_what_is_refused_again_is_a_letter_again(data_dir: Path, store: OpenStore) -> None:
    refuse(data_dir, FIRST, "a", POISON)
    result = run("retry", "--all")

    assert result.exit_code == 1
    assert "refused again, 1 events" in result.output
    assert store.titles == ["a"]
    (found,) = read_all(letters(data_dir))
    assert (found.letter.events, found.letter.batch_events) == (1, 2)


def test_retry_of_a_segment_comes_before_the_rows_refused_of_it(data_dir: Path, store: OpenStore) -> None:
    refuse(data_dir, FIRST, "bad", "worse")
    write_note(letters(data_dir), FIRST, "failed", events=2, batch_events=4, cause=None, now=1.8e9)
    segment(letters(data_dir), FIRST, "bad", "worse", "c", "d")
    result = run("retry", "--all")

    assert result.exit_code == 0, result.output
    assert sorted(store.titles) == ["bad", "c", "d", "worse"]


def test_retry_leaves_what_can_not_be_put_back_and_says_so(data_dir: Path, store: OpenStore) -> None:
    refuse(data_dir, FIRST, "a")
    write_note(letters(data_dir), SECOND, "partly_stored", events=1, batch_events=2, cause=None, now=1.8e9)
    segment(letters(data_dir), SECOND, "c", "d")
    result = run("retry", "--all")

    assert result.exit_code == 1
    assert "only a part" in result.output
    assert store.titles == ["a"]
    assert [found.letter.reason for found in read_all(letters(data_dir))] == ["partly_stored"]


def test_retry_refuses_while_a_server_holds_the_log(data_dir: Path, store: OpenStore) -> None:
    refuse(data_dir, FIRST, "a")
    settings = Config().ingest
    metrics = IngestMetrics(CollectorRegistry())
    server = Wal(data_dir / "wal", settings, metrics, on_sealed=lambda _: None, on_broken=lambda _: None)
    server.open()
    try:
        result = run("retry", "--all")
    finally:
        asyncio.run(server.close())

    assert result.exit_code == 1
    assert isinstance(result.exception, WalError)
    assert "Another server is using" in str(result.exception)
    assert len(read_all(letters(data_dir))) == 1
    assert store.calls == []


def test_retry_moves_nothing_while_clickhouse_is_away(data_dir: Path, store: OpenStore) -> None:
    refuse(data_dir, FIRST, "a")
    store.away = True
    result = run("retry", "--all")

    assert result.exit_code == 1
    assert isinstance(result.exception, AnalyticsError)
    assert len(read_all(letters(data_dir))) == 1
    assert not list((data_dir / "wal").glob("*.wal"))


def test_what_is_not_delivered_in_time_waits_in_the_log(data_dir: Path, store: OpenStore) -> None:
    refuse(data_dir, FIRST, "a")

    def gone(month: int) -> None:
        raise StoreRetryable("connection refused")

    store.fail = gone
    result = run("retry", "--all", "--timeout", "1")

    assert result.exit_code == 1
    assert "within 1 s" in str(result.exception)
    assert len(list((data_dir / "wal").glob("*.wal"))) == 1
    assert read_all(letters(data_dir)) == []
