"""A ClickHouse server for tests: starts, kills and restarts the front, sets its faults.

With `TEST_CLICKHOUSE_URL` set, the same tests run against that genuine server instead,
in a database of their own per module; tests that need faults or `kill` ask for the
front itself.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import msgspec
import pytest

from tests import preloaded
from tests.clickhouse_front.faults import Fault, FaultReport
from tests.migrated import copy_tables
from tests.preloaded import ROOT, Running
from tests.server import own_port

START_TIMEOUT_S = 60.0


class FaultSwitches:
    """Sets and reads the faults of a running front. Blocking, but never for long (`wait_stalled` excepted)."""

    def __init__(self, front: ClickHouseFront) -> None:
        self._front = front

    def add(self, fault: Fault) -> None:
        self._call("POST", "/_faults", msgspec.json.encode(fault))

    def clear(self) -> None:
        """Remove all faults, reset the counters, release what is stalled."""
        self._call("DELETE", "/_faults")

    def release(self) -> None:
        self._call("POST", "/_faults/release")

    def report(self) -> FaultReport:
        return self._call("GET", "/_faults")

    def wait_stalled(self, count: int = 1, timeout_s: float = 30.0) -> FaultReport:
        """Block until so many queries are stalled; from a coroutine call it in a thread."""
        return self._call("GET", f"/_faults/stalled/{count}", timeout_s=timeout_s)

    def _call(self, method: str, path: str, body: bytes | None = None, timeout_s: float = 30.0) -> FaultReport:
        parts = urlsplit(self._front.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
        try:
            connection.request(method, path, body=body)
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                raise ValueError(f"{method} {path}: {response.status} {answer.decode()}")
            return msgspec.json.decode(answer, type=FaultReport)
        finally:
            connection.close()


class ClickHouseFront:
    """A front in a process of its own. A restart keeps path and port, as a server's would."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = ""
        self.faults = FaultSwitches(self)
        self._port = 0
        self._process: Running | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the front is not running"
        return self._process.pid

    def start(self) -> str:
        """Start it and wait until it answers. Returns its URL."""
        assert self._process is None, "the front is running already"
        self.path.mkdir(parents=True, exist_ok=True)
        arguments = ["--path", str(self.path), "--port", str(self._port or own_port())]
        arguments += ["--print-url", "--until-stdin-closes"]
        with (self.path / "front.log").open("ab") as log:
            self._process = preloaded.start(
                "tests.clickhouse_front", arguments, stdin=subprocess.PIPE, stderr=log, cwd=ROOT
            )
        watchdog = threading.Timer(START_TIMEOUT_S, self._process.kill)
        watchdog.start()
        try:
            assert self._process.stdout is not None
            line = self._process.stdout.readline().decode().strip()
        finally:
            watchdog.cancel()
        if not line:
            self._end()
            raise RuntimeError("the front did not start:\n" + (self.path / "front.log").read_text(errors="replace"))
        self.url = line
        self._port = urlsplit(line).port or 0
        return line

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        self._signal(signal.SIGKILL)

    def leave(self) -> int:
        """Close its standard input, as the end of the process that started it would. Returns its exit code."""
        assert self._process is not None, "the front is not running"
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._end()

    def terminate(self) -> None:
        """Let it close its engine and end."""
        self._signal(signal.SIGTERM)

    def restart(self) -> str:
        """Start again on the same data and port, after `kill` or `terminate`; a running one is terminated."""
        if self._process is not None:
            self.terminate()
        return self.start()

    def stop(self) -> None:
        """End it if it runs."""
        if self._process is not None:
            self.terminate()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "the front is not running"
        self._process.send_signal(number)
        self._end()

    def _end(self) -> int:
        process, self._process = self._process, None
        assert process is not None
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        assert process.returncode is not None
        return process.returncode


@pytest.fixture(scope="module")
def module_front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseFront]:
    front = ClickHouseFront(tmp_path_factory.mktemp("front"))
    yield front
    front.stop()


@pytest.fixture
def clickhouse_front(module_front: ClickHouseFront) -> Iterator[ClickHouseFront]:
    """A front to be killed and disturbed: running, without faults. The tests of a module share its data."""
    if not module_front.is_running:
        module_front.start()
    module_front.faults.clear()
    yield module_front
    if module_front.is_running:
        module_front.faults.clear()


@pytest.fixture(scope="session")
def _embedded_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedded")


@pytest.fixture(scope="module")
def embedded_path(_embedded_path: Path) -> Iterator[Path]:
    """Where every test of this process keeps the engine in process: it allows one path at a time.

    A module's databases go with it, because the engine loads all that there are each time that it is opened.
    """
    yield _embedded_path
    forget_databases(_embedded_path)


@pytest.fixture
def embedded_tables(embedded_path: Path) -> Path:
    """The same with all tables in the database `analytics`, and nothing in them: the database of this test alone."""
    forget_databases(embedded_path)
    copy_tables(embedded_path)
    return embedded_path


def forget_databases(path: Path) -> None:
    """Empty the directory of an engine that is closed."""
    for own in os.scandir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"):
        with contextlib.suppress(OSError):
            assert not Path(os.readlink(own.path)).is_relative_to(path), "the engine is still open"
    for found in path.iterdir():
        shutil.rmtree(found) if found.is_dir() else found.unlink()


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server for the whole run: the genuine one that TEST_CLICKHOUSE_URL names, or a front."""
    if genuine := os.environ.get("TEST_CLICKHOUSE_URL"):
        yield genuine.rstrip("/")
        return
    front = ClickHouseFront(tmp_path_factory.mktemp("clickhouse"))
    yield front.start()
    front.stop()


@pytest.fixture(scope="module")
def clickhouse_url(clickhouse_server: str) -> Iterator[str]:
    """URL of a server with a fresh database's name as its path; the database is dropped afterwards."""
    database = f"test_{uuid.uuid4().hex[:12]}"
    yield f"{clickhouse_server}/{database}"
    drop_database(clickhouse_server, database)


def drop_database(server: str, database: str) -> None:
    """Remove a database from the server at `server` (with user and password, if it needs them)."""
    parts = urlsplit(server)
    path = "/?" + urlencode({"query": f"DROP DATABASE IF EXISTS `{database}`"})
    headers = {"X-ClickHouse-User": parts.username or "default", "X-ClickHouse-Key": parts.password or ""}
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request("POST", path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"{database} can't be dropped: {body.decode(errors='replace')}")
    finally:
        connection.close()
