"""TLS by file: the certificate and key that the listener speaks TLS with, read again when they change.

Constraint: a pair is used only if it was read whole and fits together; until then the former one stays, so that a
renewal that writes two files one after the other never breaks a handshake. Connections that are open go on. The
listening socket's context never changes: each handshake is given the newest pair's by the callback for server names,
which OpenSSL also calls for clients that name none.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from analytics_server.config import ServerSection
from analytics_server.errors import ConfigError
from analytics_server.http.security.certificate import Validity, read_validity

log = logging.getLogger(__name__)

RELOAD_CHECK_S = 2.0
HANDSHAKE_TIMEOUT_S = 5.0

_Stamp = tuple[tuple[int, int, int, int], ...]
"""Of each file what changes with it: inode, size, times. The inode's changes also where a copy keeps the other."""


class Tls:
    """The pair of files of one listener. `context` is for its sockets. Raises `ConfigError` when it can't be used."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._stamp = self._refused = self._look()
        """Of the pair in use, and of the one that was refused last."""
        self._current, self.validity = load_pair(certificate, key)
        self.context = _new_context()
        self.context.sni_callback = self._choose
        _use(self.context, certificate, key)

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._current

    async def watch(self) -> None:
        """Use a new pair once it is there whole, until cancelled."""
        while True:
            await asyncio.sleep(RELOAD_CHECK_S)
            await asyncio.to_thread(self.reload)

    def reload(self) -> None:
        """Read the files again if they have changed; what can't be used is logged once, and tried again."""
        stamp = self._look()
        if stamp == self._stamp:
            return
        try:
            self._current, self.validity = load_pair(self._certificate, self._key)
        except ConfigError as error:
            if stamp != self._refused:
                self._refused = stamp
                log.error(
                    "the changed TLS certificate can't be used, the former one stays", extra={"reason": error.message}
                )
        else:
            self._stamp = self._refused = stamp
            log.info("took over the changed TLS certificate", extra={"valid_until": self.validity.until.isoformat()})

    def _look(self) -> _Stamp:
        found = []
        for path in (self._certificate, self._key):
            try:
                status = path.stat()
                found.append((status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
            except OSError:
                found.append((0, 0, 0, 0))
        return tuple(found)


def tls_of(settings: ServerSection) -> Tls | None:
    """What the settings ask for; None without TLS. Raises `ConfigError`."""
    if not settings.tls_certificate and not settings.tls_key:
        return None
    for one, other in (("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")):
        if not getattr(settings, other):
            raise ConfigError(f"[server] {one} needs {other}: name both files, or neither.")
    return Tls(Path(settings.tls_certificate).expanduser(), Path(settings.tls_key).expanduser())


def load_pair(certificate: Path, key: Path) -> tuple[ssl.SSLContext, Validity]:
    """A context with the pair, and how long the certificate is valid. Raises `ConfigError`."""
    validity = read_validity(_read(certificate, "tls_certificate"))
    if validity is None:
        raise ConfigError(
            f"[server] tls_certificate = {str(certificate)!r} holds no certificate in PEM form: "
            "it has to begin with -----BEGIN CERTIFICATE-----."
        )
    if b"PRIVATE KEY-----" not in _read(key, "tls_key"):
        raise ConfigError(f"[server] tls_key = {str(key)!r} holds no private key in PEM form.")
    context = _new_context()
    _use(context, certificate, key)
    return context, validity


def _use(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    encrypted = False

    def no_password() -> str:
        nonlocal encrypted
        encrypted = True
        return ""

    try:
        context.load_cert_chain(certificate, key, password=no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        if encrypted:
            reason = "the key is encrypted: write it without a password, and let only the server's user read it"
        elif "KEY_VALUES_MISMATCH" in str(error) or "key values mismatch" in str(error):
            reason = "the key does not belong to the certificate: give the pair of one issue"
        else:
            reason = f"the pair can't be used ({getattr(error, 'reason', None) or error.__class__.__name__})"
        raise ConfigError(
            f"[server] tls_certificate = {str(certificate)!r} with tls_key = {str(key)!r}: {reason}."
        ) from error


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"[server] {setting} = {str(path)!r} can't be read: {error.strerror}.") from error


def faults(tls: Tls, now: float) -> str:
    """What browsers will not like about the certificate, in a sentence; empty when it is well."""
    until, since = tls.validity.until, tls.validity.since
    if until.timestamp() <= now:
        return f"The TLS certificate has expired on {until:%Y-%m-%d}: renew it; it is taken over without a restart."
    if since.timestamp() > now:
        return f"The TLS certificate is not valid before {since:%Y-%m-%d %H:%M} UTC: is the clock right?"
    return ""
