"""Where the running server can be reached, left in its data directory for `analytics-server healthcheck`.

The settings don't say it: `serve --port` overrides them, and port 0 takes a free one. The server
writes the file once it listens and removes it when it stops; after a crash it stays, so what it
says is checked: the answer of `/healthz` names the process that gave it by the same `instance`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from pathlib import Path

import msgspec

FILE = "server.json"
INSTANCE_HEADER = "X-Server-Instance"

log = logging.getLogger(__name__)


class RunningAt(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a server: a random name of its process, the addresses it is bound to, and whether by TLS."""

    instance: str
    addresses: tuple[tuple[str, int], ...]
    tls: bool = False


class AddressFile:
    """The server's side. Call it while the write-ahead log's lock is held: one server per directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self.instance = secrets.token_hex(8)

    def write(self, addresses: list[tuple[str, int]], *, tls: bool) -> None:
        """Replace the file. A directory that can't be written is a warning: the server works without."""
        body = msgspec.json.encode(RunningAt(instance=self.instance, addresses=tuple(addresses), tls=tls))
        fresh = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.write_bytes(body)
            os.replace(fresh, self._path)
        except OSError as error:
            log.warning("healthcheck will not find this server", extra={"reason": str(error.strerror)})

    def remove(self) -> None:
        """What an earlier or this server left there."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def read_address(directory: Path) -> RunningAt | None:
    """What the server of this directory left; None when there is nothing, or nothing one may or can read."""
    try:
        return msgspec.json.decode((directory / FILE).read_bytes(), type=RunningAt)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
