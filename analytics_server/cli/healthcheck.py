"""`analytics-server healthcheck`: does the server of these settings answer?

For a container's or a supervisor's check, so it is quick: it imports neither the server nor the
engine. It speaks HTTP over a socket of its own, because a library would send the request to the
proxy that the environment names. Where the server listens it learns from the data directory, or
from the settings when nothing stands there.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

import click

from analytics_server.config import Config, load_config
from analytics_server.errors import ConfigError
from analytics_server.http.address_file import INSTANCE_HEADER, read_address
from analytics_server.listening import Address, address_text, base_url, reachable, without_brackets

PATH = "/healthz"
TIMEOUT_S = 3.0
MOST_BYTES = 65_536
WILDCARDS = {"": ("0.0.0.0", "::"), "::": ("0.0.0.0", "::")}


class Unhealthy(Exception):
    """Why the server counts as not living."""


def check(config: Config, timeout_s: float) -> str:
    """The base URL that answered. Raises `Unhealthy`."""
    deadline = time.monotonic() + timeout_s
    left = read_address(config.data_dir)
    if left is not None:
        bound, instance, tls = list(left.addresses), left.instance, left.tls
    else:
        host, port = without_brackets(config.server.host), config.server.port
        if not port:
            raise Unhealthy(f"no server is running on {config.data_dir}, and the settings name no port")
        bound, instance = [(name, port) for name in WILDCARDS.get(host, (host,))], ""
        tls = bool(config.server.tls_certificate)
    failures = []
    for address in reachable(bound):
        try:
            _ask(address, instance, deadline, tls=tls)
        except (OSError, Unhealthy) as error:
            reason = isinstance(error, OSError) and error.strerror
            failures.append(f"{base_url(*address, tls=tls)}{PATH}: {reason or str(error) or 'no answer in time'}")
        else:
            return base_url(*address, tls=tls)
    raise Unhealthy("; ".join(failures))


def _ask(address: Address, instance: str, deadline: float, *, tls: bool) -> None:
    """One GET, read to its end. Raises `OSError` (also for lack of time) or `Unhealthy`."""
    request = f"GET {PATH} HTTP/1.1\r\nHost: {address_text(*address)}\r\nConnection: close\r\n\r\n"
    plain = socket.create_connection(address, timeout=_left(deadline))
    with _encrypted(plain) if tls else plain as connection:
        connection.sendall(request.encode("ascii"))
        answer = b""
        while len(answer) < MOST_BYTES:
            connection.settimeout(_left(deadline))
            piece = connection.recv(MOST_BYTES)
            if not piece:
                break
            answer += piece
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1")
    first, *lines = head.split("\r\n")
    if first.split(" ")[1:2] != ["200"] or not first.startswith("HTTP/1."):
        raise Unhealthy(f"the answer is {first[:60]!r}" if first else "the connection was closed without an answer")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if instance and headers.get(INSTANCE_HEADER.lower()) != instance:
        raise Unhealthy("another program answers there; the server of this data directory is gone")


def _encrypted(plain: socket.socket) -> socket.socket:
    """TLS with whatever certificate: it is this machine's, and which process answers is told by its instance."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        return context.wrap_socket(plain)
    except BaseException:
        plain.close()
        raise


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    return left


@click.command()
@click.option(
    "--config", "config_path", metavar="FILE", help="Config file (TOML). Also: ANALYTICS_CONFIG. Default: none."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=TIMEOUT_S,
    show_default=True,
    help="Seconds to wait for the answer.",
)
def healthcheck(config_path: str | None, timeout_s: float) -> None:
    """Ask the running server whether it lives, without any proxy.

    \b
    Exit code: 0 it answers, 1 it does not.

    Use the settings of the server: its data directory says where it listens,
    also when `serve --host` or `--port` chose something else.
    """
    chosen = config_path or os.environ.get("ANALYTICS_CONFIG")
    try:
        url = check(load_config(Path(chosen) if chosen else None), timeout_s)
    except (ConfigError, Unhealthy) as error:
        click.secho(f"unhealthy: {error}", fg="red", err=True)
        sys.exit(1)
    click.echo(f"healthy: {url}")
