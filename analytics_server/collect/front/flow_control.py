"""Flow control (back-pressure) of one connection: bytes that wait, and answers that the client does not read.

While a beacon is under way, or the client reads nothing, what it sends is held; past a bound, reading from the
socket is paused, so that the client's own sending stalls (back-pressure).
"""

from __future__ import annotations

import asyncio

MAX_HELD_BYTES = 262_144


class FlowControl:
    """Owns when the transport reads, and what was read too early. Times are those of `time.monotonic`."""

    __slots__ = ("_held", "_held_bytes", "_reading_paused", "_transport", "clogged_at")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._reading_paused = False
        self.clogged_at = 0.0
        """Since when the client leaves its answers unread; 0 while it reads them."""

    @property
    def holds(self) -> bool:
        """Do any bytes wait?"""
        return bool(self._held)

    def hold(self, data: bytes) -> None:
        """Let bytes wait; past the bound the client has to wait with sending."""
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > MAX_HELD_BYTES and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def release(self) -> bytes:
        """What has waited; reading goes on."""
        data = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        if self._reading_paused and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()
        return data

    def clear(self) -> None:
        """Forget what has waited: the connection is gone."""
        self._held.clear()
        self._held_bytes = 0
