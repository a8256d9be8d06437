"""Frames from WebSocket clients: aiohttp reads unmasked ones too, which RFC 6455 (5.1) forbids.

Owns the headers of the frames, not what is in them. An unmasked frame ends the connection with 1002.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

MASKED = 0x80
SHORT = 125
PROTOCOL_ERROR_FRAME = b"\x88\x02\x03\xea"
"""Close, 1002."""


class Parser(Protocol):
    """What reads the frames."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take some bytes: whether it is over, and what is left of them."""

    def feed_eof(self) -> None:
        """The connection has ended."""


class MaskedFrames:
    """Checks frames before they reach a parser, and passes only masked ones on."""

    __slots__ = ("_head", "_left", "_parser", "_refused", "_transport")

    def __init__(self, parser: Parser, transport: asyncio.Transport | None) -> None:
        self._parser = parser
        self._transport = transport
        self._head = b""
        """The beginning of a frame whose length is not known yet."""
        self._left = 0
        """Bytes of a frame that are still to come."""
        self._refused = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Whether it is over, and what is left of the data."""
        if self._refused:
            return True, b""
        if not self._are_masked(data):
            self._refused = True
            if self._transport is not None and not self._transport.is_closing():
                self._transport.write(PROTOCOL_ERROR_FRAME)
                self._transport.close()
            return True, b""
        return self._parser.feed_data(data)

    def feed_eof(self) -> None:
        """The connection has ended."""
        self._parser.feed_eof()

    def _are_masked(self, data: bytes) -> bool:
        at = 0
        while at < len(data):
            if self._left:
                taken = min(self._left, len(data) - at)
                self._left -= taken
                at += taken
                continue
            head = self._head + data[at : at + 14 - len(self._head)]
            if len(head) > 1 and not head[1] & MASKED:
                return False
            size = _size(head)
            if not size:
                self._head = head
                return True
            at -= len(self._head)
            self._head = b""
            taken = min(size, len(data) - at)
            self._left = size - taken
            at += taken
        return True


def _size(head: bytes) -> int:
    """Bytes of a masked frame, its head included; 0 when its head is not all there."""
    if len(head) < 2:
        return 0
    length = head[1] & 0x7F
    if length <= SHORT:
        return 6 + length
    extended = 2 if length == SHORT + 1 else 8
    if len(head) < 2 + extended:
        return 0
    return 2 + extended + 4 + int.from_bytes(head[2 : 2 + extended], "big")
