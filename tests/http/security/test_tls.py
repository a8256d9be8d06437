"""TLS by file: real handshakes with self-made certificates, renewed under way, and files that can't be used."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import os
import socket
import ssl
import subprocess
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner, Result

from analytics_server.cli.main import cli
from analytics_server.errors import ConfigError
from analytics_server.http.security import tls
from analytics_server.http.security.certificate import read_validity
from analytics_server.http.security.tls import Tls
from tests.e2e.conftest import assert_clean
from tests.server import Client, RunningServer, wait_for

BEACON = b'{"site":"a.example","name":"pageview","url":"https://a.example/"}'
PLAIN = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/142.0"}


def make_pair(directory: Path, name: str = "stats.example.com", *, key: str = "rsa:2048") -> tuple[Path, Path]:
    """A self-made certificate for the name and 127.0.0.1, and its key."""
    directory.mkdir(parents=True, exist_ok=True)
    certificate, secret = directory / "chain.pem", directory / "key.pem"
    alternatives = f"subjectAltName=DNS:{name},IP:127.0.0.1"
    command = ["openssl", "req", "-x509", "-newkey", key, "-nodes", "-subj", f"/CN={name}", "-addext", alternatives]
    subprocess.run(
        [*command, "-keyout", str(secret), "-out", str(certificate), "-days", "30"],
        check=True,
        capture_output=True,
    )
    return certificate, secret


def settings_of(pair: tuple[Path, Path]) -> dict[str, str]:
    return {"server_tls_certificate": str(pair[0]), "server_tls_key": str(pair[1])}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def server(tmp_path: Path, pair: tuple[Path, Path]) -> Iterator[RunningServer]:
    with RunningServer(tmp_path, settings_of(pair)) as server:
        yield server
        assert server.terminate() == 0
    assert_clean(server.log)


def context_for(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


def name_of(port: int, server_name: str | None = None) -> str:
    """The name in the certificate that a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=server_name) as connection,
    ):
        shown = connection.getpeercert(binary_form=True)
        assert shown is not None
        pem = ssl.DER_cert_to_PEM_cert(shown)
    read = ["openssl", "x509", "-noout", "-subject", "-nameopt", "multiline"]
    done = subprocess.run(read, input=pem, capture_output=True, text=True, check=True)
    return done.stdout.rpartition("= ")[2].strip()


async def test_pages_the_api_and_both_ways_of_beacons_speak_tls(server: RunningServer, pair: tuple[Path, Path]) -> None:
    assert server.url.startswith("https://127.0.0.1:")
    connector = aiohttp.TCPConnector(ssl=context_for(pair[0]))
    async with aiohttp.ClientSession(connector=connector, headers=PLAIN) as session:
        for headers in ({}, {"Proxy-Connection": "keep-alive"}):  # by the fast front, and by the framework
            for _ in range(3):
                async with session.post(f"{server.url}/track", data=BEACON, headers=headers) as answer:
                    assert (answer.status, (await answer.json())["accepted"]) == (202, 1)
        async with session.get(f"{server.url}/dashboard") as answer:
            assert answer.status == 200
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        async with session.get(f"{server.url}/", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Strict-Transport-Security"]) == (302, "max-age=31536000")
        large = {"Content-Encoding": "identity", "X-Pad": "x" * 7_000}
        async with session.post(
            f"{server.url}/track", data=b"[" + b" " * 60_000 + BEACON + b"]", headers=large
        ) as answer:
            assert answer.status == 202


async def test_an_answer_without_tls_names_no_tls(tmp_path: Path) -> None:
    with RunningServer(tmp_path) as server:
        async with Client(server) as client:
            assert "Strict-Transport-Security" not in (await client.get("/dashboard")).headers


async def test_a_beacon_is_kept_whose_client_has_closed_its_side(
    server: RunningServer, pair: tuple[Path, Path]
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context_for(pair[0]))
    head = (
        b"POST /track HTTP/1.1\r\nHost: a\r\nUser-Agent: Mozilla/5.0 (X11) Firefox/142.0\r\nContent-Length: %d\r\n\r\n"
    )
    writer.write(head % len(BEACON) + BEACON)
    writer.close()
    await writer.wait_closed()
    connector = aiohttp.TCPConnector(ssl=context_for(pair[0]))
    async with aiohttp.ClientSession(connector=connector) as session:

        async def is_accepted() -> bool:
            async with session.get(f"{server.url}/metrics") as answer:
                return 'ingest_events_total{outcome="accepted"} 1.0' in await answer.text()

        await wait_for(is_accepted, what="the beacon")


def test_the_healthcheck_finds_it(server: RunningServer) -> None:
    done = server.command("healthcheck")
    assert (done.returncode, done.stdout) == (0, f"healthy: {server.url}\n"), done.stderr


def test_plain_http_and_old_tls_get_no_answer(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"HTTP/1.1" not in plain.recv(1_000)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings(action="ignore"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain)
    assert name_of(server.port) == "stats.example.com"


async def test_a_renewed_certificate_is_shown_while_connections_go_on(tmp_path: Path) -> None:
    before = make_pair(tmp_path / "pair", "before.example")
    renewed = make_pair(tmp_path / "renewed", "after.example", key="ec:" + _curve(tmp_path))
    with RunningServer(tmp_path / "server", settings_of(before)) as server:
        trust = context_for(before[0])
        open_connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10, context=trust)
        open_connection.request("GET", "/healthz")
        assert open_connection.getresponse().read()
        assert [name_of(server.port), name_of(server.port, "before.example")] == ["before.example"] * 2

        before[0].write_bytes(renewed[0].read_bytes())  # the key is not there yet

        async def has_complained() -> bool:
            return "the former one stays" in server.log

        await wait_for(has_complained, what="the refusal of half a renewal")
        assert name_of(server.port) == "before.example"
        before[1].write_bytes(renewed[1].read_bytes())

        async def is_new() -> bool:
            return await asyncio.to_thread(name_of, server.port) == "after.example"

        await wait_for(is_new, what="the new certificate")
        assert name_of(server.port, "after.example") == "after.example"
        open_connection.request("GET", "/healthz")
        assert json.loads(open_connection.getresponse().read()) == {"status": "ok"}
        open_connection.close()
        assert server.terminate() == 0


def _curve(directory: Path) -> str:
    """A file of parameters of a curve, as `openssl req` wants it."""
    path = directory / "curve.pem"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-out", str(path)], check=True, capture_output=True)
    return str(path)


def test_a_pair_that_keeps_size_and_time_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pair = make_pair(tmp_path / "pair", "one.example")
    other = make_pair(tmp_path / "other", "two.example")
    found = Tls(*pair)
    since = found.validity
    for path, new in zip(pair, other, strict=True):
        status, text = path.stat(), new.read_bytes()
        path.write_bytes(text + b"\n" * max(0, status.st_size - len(text)))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    caplog.set_level(logging.INFO)

    found.reload()
    found.reload()

    assert [record.message for record in caplog.records] == ["took over the changed TLS certificate"]
    assert found.validity is not since


def test_a_pair_that_could_not_be_read_once_is_tried_again_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pair = make_pair(tmp_path / "pair", "one.example")
    found = Tls(*pair)
    pair[0].write_text("-----BEGIN CERTIFICATE-----")
    for _ in range(3):
        found.reload()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    make_pair(tmp_path / "pair", "two.example")
    caplog.set_level(logging.INFO)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tls, "_read", unreadable)
        found.reload()
    found.reload()

    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR", "INFO"]


def unreadable(path: Path, setting: str) -> bytes:
    raise ConfigError(f"[server] {setting} can't be read: too many open files.")


# ---- files that can't be used ----------------------------------------------------


def check_config(pair: tuple[Path | str, Path | str], tmp_path: Path) -> Result:
    environment = {
        "ANALYTICS_SERVER_TLS_CERTIFICATE": str(pair[0]),
        "ANALYTICS_SERVER_TLS_KEY": str(pair[1]),
        "ANALYTICS_SERVER_DATA_DIR": str(tmp_path / "data"),
    }
    return CliRunner().invoke(cli, ["check-config"], env=environment)


def refusal(pair: tuple[Path | str, Path | str], tmp_path: Path) -> str:
    done = check_config(pair, tmp_path)
    assert done.exit_code == 1, done.output
    return str(getattr(done.exception, "message", done.output))


def test_check_config_takes_a_good_pair(pair: tuple[Path, Path], tmp_path: Path) -> None:
    done = check_config(pair, tmp_path)
    assert done.exit_code == 0, done.output
    assert "expired" not in done.output


def test_one_file_without_the_other(pair: tuple[Path, Path], tmp_path: Path) -> None:
    assert "[server] tls_certificate needs tls_key" in refusal((pair[0], ""), tmp_path)
    assert "[server] tls_key needs tls_certificate" in refusal(("", pair[1]), tmp_path)


def test_a_file_that_is_not_there(pair: tuple[Path, Path], tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    assert f"tls_certificate = '{missing}' can't be read: No such file" in refusal((missing, pair[1]), tmp_path)
    assert f"tls_key = '{missing}' can't be read: No such file" in refusal((pair[0], missing), tmp_path)
    assert "Is a directory" in refusal((tmp_path, pair[1]), tmp_path)


def test_a_key_of_another_certificate(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = make_pair(tmp_path / "other")
    assert "the key does not belong to the certificate" in refusal((pair[0], other[1]), tmp_path)


def test_files_that_hold_something_else(pair: tuple[Path, Path], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("hello")
    assert "holds no certificate in PEM form" in refusal((wrong, pair[1]), tmp_path)
    assert "holds no private key in PEM form" in refusal((pair[0], pair[0]), tmp_path)
    wrong.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    assert "holds no certificate in PEM form" in refusal((wrong, pair[1]), tmp_path)
    wrong.write_text("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n")
    assert "the pair can't be used" in refusal((pair[0], wrong), tmp_path)


def test_an_encrypted_key_asks_nobody(pair: tuple[Path, Path], tmp_path: Path) -> None:
    locked = tmp_path / "locked.pem"
    convert = ["openssl", "rsa", "-aes256", "-passout", "pass:secret", "-in", str(pair[1]), "-out", str(locked)]
    subprocess.run(convert, check=True, capture_output=True)
    assert "the key is encrypted" in refusal((pair[0], locked), tmp_path)


def test_a_start_with_a_pair_that_can_t_be_used_ends_in_one_line(pair: tuple[Path, Path], tmp_path: Path) -> None:
    server = RunningServer(tmp_path, settings_of((pair[0], tmp_path / "missing.pem")))
    with pytest.raises(AssertionError, match=r"tls_key = .* can't be read: No such file or directory"):
        server.start()
    assert "Traceback" not in server.log


def test_an_expired_certificate_is_a_warning(tmp_path: Path) -> None:
    whole = make_pair(tmp_path / "expired", "a.example")
    expired = (tmp_path / "expired.pem", whole[1])
    sign = ["openssl", "x509", "-in", str(whole[0]), "-signkey", str(whole[1]), "-days", "-1", "-out", str(expired[0])]
    subprocess.run(sign, check=True, capture_output=True)
    done = check_config(expired, tmp_path)
    assert done.exit_code == 0
    assert "The TLS certificate has expired on" in done.output
    with RunningServer(tmp_path / "server", settings_of(expired)) as server:
        assert "The TLS certificate has expired on" in server.log
        assert name_of(server.port) == "a.example"
        assert server.terminate() == 0


def test_the_times_of_a_certificate_are_those_that_openssl_reads(pair: tuple[Path, Path]) -> None:
    validity = read_validity(b"some words before\n" + pair[0].read_bytes())
    assert validity is not None
    read = ["openssl", "x509", "-noout", "-enddate", "-startdate", "-in", str(pair[0])]
    lines = subprocess.run(read, capture_output=True, text=True, check=True).stdout.splitlines()
    told = [
        datetime.fromtimestamp(ssl.cert_time_to_seconds(line.partition("=")[2]), UTC)
        for line in sorted(lines, reverse=True)
    ]
    assert [validity.since, validity.until] == told
