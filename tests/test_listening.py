"""Where the server listens, and how it says so: every address that is printed answers."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

import pytest

from analytics_server.errors import ConfigError
from analytics_server.http.address_file import FILE
from analytics_server.listening import addresses_of, base_url, open_sockets, reachable
from tests.server import RunningServer

URL = re.compile(r"https?://[^\s\"<]+")
FAR_PROXY = "http://127.0.0.1:9"
"""Nothing listens there: a request there fails."""


@contextmanager
def listening(host: str, port: int = 0) -> Iterator[list[socket.socket]]:
    sockets = open_sockets(host, port)
    try:
        yield sockets
    finally:
        for one in sockets:
            one.close()


def health(host: str, port: int) -> int:
    with closing(http.client.HTTPConnection(host, port, timeout=10)) as connection:
        connection.request("GET", "/healthz")
        return connection.getresponse().status


def healthcheck(server: RunningServer, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"), FAR_PROXY)
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "analytics_server", "healthcheck", *options],
        env=server.environment() | proxies | more,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# ---- sockets -----------------------------------------------------------------


@pytest.mark.parametrize("host", ["::", "", "[::]", "0:0:0:0:0:0:0:0"])
def test_the_wildcard_takes_both_families_on_one_port(host: str) -> None:
    with listening(host) as sockets:
        bound = addresses_of(sockets)
        assert [address for address, _ in bound] == ["0.0.0.0", "::"]
        assert len({port for _, port in bound}) == 1
        assert reachable(bound) == [("127.0.0.1", bound[0][1]), ("::1", bound[0][1])]


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("0.0.0.0", "http://127.0.0.1:"),
        ("::1", "http://[::1]:"),
        ("[::1]", "http://[::1]:"),
        ("127.0.0.1", "http://127.0.0.1:"),
        ("::ffff:127.0.0.1", "http://127.0.0.1:"),
        ("localhost", "http://127.0.0.1:"),
    ],
)
def test_one_address_is_one_address(host: str, shown: str) -> None:
    with listening(host) as sockets:
        assert base_url(*reachable(addresses_of(sockets))[0]).startswith(shown)


def test_a_zone_is_escaped_in_a_url() -> None:
    assert base_url("fe80::1%eth0", 8000) == "http://[fe80::1%25eth0]:8000"


@pytest.mark.parametrize("host", ["::", "127.0.0.1"])
def test_a_port_in_use_by_one_family_is_refused(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match="Address already in use"):
            open_sockets(host, port)


def test_where_the_kernel_has_no_ipv6_the_wildcard_is_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def without_ipv6(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, kind)

    monkeypatch.setattr("analytics_server.listening.socket.socket", without_ipv6)
    with listening("::") as sockets:
        assert [address for address, _ in addresses_of(sockets)] == ["0.0.0.0"]
    with pytest.raises(ConfigError, match="family not supported"):
        open_sockets("::1", 0)


# ---- a whole server ------------------------------------------------------------


@pytest.mark.parametrize("host", ["::", "::1", "0.0.0.0", "localhost"])
def test_every_address_that_is_printed_answers(tmp_path: Path, host: str) -> None:
    with RunningServer(tmp_path, {"server_host": host, "server_demo": "true"}) as server:
        places = URL.findall(server.greeting)
        assert len(places) == 4  # running at, dashboard, demo site, script tag
        opener = build_opener(ProxyHandler({}))
        for place in places:
            with opener.open(place.partition("#")[0], timeout=10) as answer:
                assert answer.status == 200
        wanted = {"::": ("127.0.0.1", "::1"), "::1": ("::1",)}.get(host, ("127.0.0.1",))
        assert [health(address, server.port) for address in wanted] == [200] * len(wanted)
        done = healthcheck(server)
        assert (done.returncode, done.stdout) == (0, f"healthy: {server.url}\n"), done.stderr


def test_a_public_url_is_printed_as_it_is(tmp_path: Path) -> None:
    with RunningServer(tmp_path, {"server_host": "::", "server_public_url": "https://[2001:db8::1]:8443"}) as server:
        assert {urlsplit(place).netloc for place in URL.findall(server.greeting)} == {"[2001:db8::1]:8443"}


# ---- healthcheck ----------------------------------------------------------------


def test_the_health_of_a_server_through_its_life(tmp_path: Path) -> None:
    """Its port differs from the settings' (`--port 0`), a proxy is named, it is stopped, killed, and gone."""
    server = RunningServer(tmp_path, {"server_port": "1"})
    with server:
        assert healthcheck(server).returncode == 0
        file = server.data_dir / FILE
        left = file.read_bytes()
        server.kill()
        killed = healthcheck(server)
        assert (killed.returncode, killed.stdout) == (1, "")
        assert killed.stderr.startswith("unhealthy: ")
        assert len(killed.stderr.splitlines()) == 1
        server.restart()
        assert file.read_bytes() != left
        assert healthcheck(server).returncode == 0
        assert server.terminate() == 0
        assert not file.exists()
        assert healthcheck(server).returncode == 1


def test_another_server_at_the_old_address_is_not_this_one(tmp_path: Path) -> None:
    first = RunningServer(tmp_path / "first")
    with first:
        first.kill()
        left = (first.data_dir / FILE).read_bytes()
        with RunningServer(tmp_path / "second") as second:
            port, other = str(first.port).encode(), str(second.port).encode()
            (first.data_dir / FILE).write_bytes(left.replace(port, other))  # as if it had been given the same port
            done = healthcheck(first)
            assert done.returncode == 1
            assert "another program answers there" in done.stderr
            assert healthcheck(second).returncode == 0


def test_without_the_data_directory_the_settings_say_where(tmp_path: Path) -> None:
    with RunningServer(tmp_path, {"server_host": "::1"}) as server:
        elsewhere = {
            "ANALYTICS_SERVER_DATA_DIR": str(tmp_path / "elsewhere"),
            "ANALYTICS_SERVER_PORT": str(server.port),
        }
        assert healthcheck(server, **elsewhere).returncode == 0
        wildcard = elsewhere | {"ANALYTICS_SERVER_HOST": "::"}
        assert healthcheck(server, **wildcard).returncode == 0
        assert healthcheck(server, **(elsewhere | {"ANALYTICS_SERVER_HOST": "127.0.0.1"})).returncode == 1


def test_a_server_that_does_not_answer_is_unhealthy_in_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = RunningServer(tmp_path, {"server_port": str(silent.getsockname()[1])})
        done = healthcheck(server, "--timeout", "0.3")
        assert done.returncode == 1
        assert re.search("time", done.stderr)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 503 no\r\n\r\n", b"200 OK\r\n\r\n", b"", b"\xff\x00"])
def test_another_answer_is_unhealthy(tmp_path: Path, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as odd:
        server = RunningServer(tmp_path, {"server_port": str(odd.getsockname()[1])})
        with subprocess.Popen(
            [sys.executable, "-m", "analytics_server", "healthcheck"],
            env=server.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            connection, _ = odd.accept()
            with connection:
                connection.recv(4_096)
                connection.sendall(answer)
            said, complaint = process.communicate(timeout=60)
        assert (process.returncode, said) == (1, "")
        assert len(complaint.splitlines()) == 1


def test_a_wrong_setting_is_said(tmp_path: Path) -> None:
    done = healthcheck(RunningServer(tmp_path, {"server_port": "many"}))
    assert done.returncode == 1
    assert "ANALYTICS_SERVER_PORT" in done.stderr


def test_a_health_check_loads_neither_engine_nor_server() -> None:
    code = (
        "import sys, analytics_server.__main__ as entry\n"
        "sys.argv = ['analytics-server', 'healthcheck', '--help']\n"
        "try:\n    entry.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'chdb', 'aiohttp', 'clickhouse_connect', 'sqlglot', 'orjson'} & set(sys.modules)\n"
        "print('loaded:', sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=dict(os.environ)
    )
    assert done.stdout.endswith("loaded: []\n")
