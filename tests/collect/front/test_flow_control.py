"""Bytes that wait: kept in order, and bounded by stalling the client."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from analytics_server.collect.front.flow_control import MAX_HELD_BYTES, FlowControl


class Socket:
    """Stands where the transport stands."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.closing = False

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def is_closing(self) -> bool:
        return self.closing


def held(socket: Socket, *pieces: bytes) -> FlowControl:
    flow = FlowControl(cast(asyncio.Transport, socket))
    for piece in pieces:
        flow.hold(piece)
    return flow


def test_what_waits_comes_in_the_order_it_was_sent() -> None:
    flow = held(Socket(), b"a", b"b")
    assert flow.holds
    assert (flow.release(), flow.holds, flow.release()) == (b"ab", False, b"")


@pytest.mark.parametrize(("sizes", "calls"), [([MAX_HELD_BYTES], []), ([MAX_HELD_BYTES, 1, 1], ["pause", "resume"])])
def test_past_the_bound_the_client_waits_until_it_is_its_turn(sizes: list[int], calls: list[str]) -> None:
    socket = Socket()
    flow = held(socket, *map(bytes, sizes))
    assert socket.calls == calls[:1]
    assert len(flow.release()) == sum(sizes)
    assert socket.calls == calls


def test_of_a_closing_connection_nothing_more_is_read() -> None:
    socket = Socket()
    flow = held(socket, bytes(MAX_HELD_BYTES + 1))
    socket.closing = True
    flow.release()
    assert socket.calls == ["pause"]
