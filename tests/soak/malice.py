"""Bad traffic: RELIABILITY's list of what clients send that they shouldn't, with the answers that are right.

Every case says which statuses it may get; 503 is allowed always (the server may be
stopping), no answer too (it may be dead). Cases that are refused carry an event whose
mark must never be found in ClickHouse.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import count

import aiohttp

from tests.e2e.test_bad_input import BROKEN
from tests.server import USER_AGENT, Client, RunningServer, raw
from tests.soak.ledger import Ledger
from tests.soak.traffic import MARK_PATH, SITES

UNWANTED = "bad"
"""How the marks of events begin that must not be kept."""
HEAD = b"POST /track HTTP/1.1\r\nHost: soak.example\r\nUser-Agent: " + USER_AGENT.encode() + b"\r\n"
RAW_WAIT_S = 2.0
CLIENT_ERRORS = (400, 404, 408, 413, 414, 415, 431)
REFUSED = 400
ENDLESS_BYTES = 8_000_000


@dataclass(slots=True, kw_only=True)
class Case:
    """A request and the statuses it may get. `wire` are the bytes of the whole request, instead of `body`."""

    name: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    trusted: bool = False
    wire: bytes = b""
    statuses: Collection[int] = CLIENT_ERRORS
    code: str = ""
    """With status 202: the rejection's code."""


class Malice:
    """One client that means no good, and the ones that never finish."""

    def __init__(
        self, server: RunningServer, ledger: Ledger, rng: random.Random, *, requests_per_s: float = 8.0
    ) -> None:
        self._server = server
        self._ledger = ledger
        self._rng = rng
        self._pause_s = 1 / requests_per_s
        self._marks = count()

    async def run(self, stop: asyncio.Event) -> None:
        """All cases in ever new order until `stop` is set."""
        while not stop.is_set():
            cases = self.cases()
            self._rng.shuffle(cases)
            async with Client(self._server) as client:
                for case in cases:
                    if stop.is_set():
                        return
                    await self.attempt(client, case)
                    await asyncio.sleep(self._pause_s)
                await self._stall(stop)
                await self._never_end()

    async def attempt(self, client: Client, case: Case) -> None:
        """Send it and judge the answer, in the ledger."""
        ledger = self._ledger
        ledger.bad_requests += 1
        try:
            if case.wire:
                answer = await raw(self._server, case.wire, timeout_s=RAW_WAIT_S)
                if answer.startswith(b"HTTP/1.1 "):
                    self._judge(case, int(answer[9:12]), answer)
                return
            reply = await client.send(case.body, headers=case.headers, trusted=case.trusted)
        except (aiohttp.ClientError, TimeoutError, OSError):
            ledger.unanswered += 1
            return
        self._judge(case, reply.status, reply.body)
        if reply.status == 202 and case.code and {code for _, code in reply.rejected} != {case.code}:
            ledger.wonder(f"{case.name}: {reply.body[:200]!r}")

    def _judge(self, case: Case, status: int, body: bytes) -> None:
        self._ledger.statuses[status] += 1
        if status != 503 and status not in case.statuses:
            self._ledger.wonder(f"{case.name}: {status} {body[:200]!r}")

    async def _stall(self, stop: asyncio.Event) -> None:
        """Heads and bodies that never come to their end, held for a moment."""
        writers = []
        try:
            for number in range(20):
                _, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
                writers.append(writer)
                writer.write(HEAD if number % 2 else HEAD + b"Content-Length: 500\r\n\r\n" + self._event()[:40])
            self._ledger.bad_requests += len(writers)
            await asyncio.wait_for(stop.wait(), self._rng.uniform(1, 4))
        except (OSError, TimeoutError):
            pass
        finally:
            for writer in writers:
                writer.close()

    async def _never_end(self) -> None:
        """Chunks without end: cut off with 413."""
        self._ledger.bad_requests += 1
        sent = 0
        try:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
                answer = asyncio.create_task(reader.read(4_096))
                try:
                    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
                    while not answer.done() and sent < ENDLESS_BYTES:
                        writer.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")
                        sent += 65_536
                        await writer.drain()
                        await asyncio.sleep(0)
                    line = await answer
                    if line.startswith(b"HTTP/1.1 "):
                        self._judge(Case(name="endless chunks", statuses=(413,)), int(line[9:12]), line)
                finally:
                    answer.cancel()
                    writer.close()
        except (OSError, TimeoutError):
            self._ledger.unanswered += 1

    # ---- the list ------------------------------------------------------

    def _event(self, fields: bytes = b"") -> bytes:
        """An event that must not be kept: a later key wins over an earlier one."""
        mark = f"{UNWANTED}{next(self._marks)}"
        self._ledger.unwanted.add(mark)
        url = f"https://{SITES[0]}{MARK_PATH}{mark}"
        more = b"," + fields if fields else b""
        return f'{{"site":"{SITES[0]}","name":"x","url":"{url}"'.encode() + more + b"}"

    def cases(self) -> list[Case]:
        """The whole list once, with new marks."""
        found = [
            Case(name=str(case.id), body=body, statuses=(REFUSED,))
            for case in BROKEN
            if isinstance(body := case.values[0], bytes)
        ]
        found += [
            Case(name=f"{code} {fields[:40]!r}", body=self._event(fields), statuses=(202,), code=code)
            for fields, code in OUT_OF_RANGE
        ]
        found += self._compressed() + self._framing()
        keys = b",".join(b'"%d":1' % number for number in range(100_000)) + b',"url":"file:///x"'
        found.append(Case(name="100,000 keys", body=self._event(keys), statuses=(413,)))
        found.append(Case(name="keys in a batch", body=b"[" + self._event(keys) + b"]", statuses=(202, 413)))
        found += [
            Case(name="forged hop", body=self._event(b'"url":"file:///x"'), headers=headers, statuses=(202, 400))
            for headers in (
                {"X-Forwarded-For": "1.2.3.4," * 500},
                {"X-Forwarded-For": f"{self._rng.getrandbits(31) or 1}, not an address"},
                {"X-Forwarded-For": ", ".join(f"2001:db8::{self._rng.getrandbits(16):x}" for _ in range(9))},
            )
        ]
        return found

    def _compressed(self) -> list[Case]:
        packed: tuple[tuple[str, Callable[[], bytes], int], ...] = (
            ("gzip bomb", lambda: gzip.compress(b" " * 20_000_000), 413),
            ("bomb of one event", lambda: gzip.compress(b'{"site":"' + b"a" * 5_000_000), 413),
            ("truncated gzip", lambda: gzip.compress(self._event())[:-9], 400),
            ("empty members", lambda: gzip.compress(b"") * 5_000, 400),
            ("members before", lambda: gzip.compress(b"") * 64 + gzip.compress(self._event()), 400),
            ("gzip twice", lambda: gzip.compress(gzip.compress(self._event())), 400),
            ("no gzip", lambda: self._event(), 400),
        )
        found = [
            Case(name=name, body=make(), headers={"Content-Encoding": "gzip"}, statuses=(status,))
            for name, make, status in packed
        ]
        deflated = zlib.compress(b" " * 20_000_000)
        found.append(Case(name="deflate bomb", body=deflated, headers={"Content-Encoding": "deflate"}, statuses=(413,)))
        found.append(Case(name="brotli", body=self._event(), headers={"Content-Encoding": "br"}, statuses=(415,)))
        return found

    def _framing(self) -> list[Case]:
        close = HEAD + b"Connection: close\r\n"
        event = self._event()
        chunks = b"Transfer-Encoding: chunked\r\n"
        wires = {
            "a length too large": close + b"Content-Length: 999999999999\r\n\r\n",
            "a lying length": close + b"Content-Length: 5000\r\n\r\n" + event,
            "length and chunks": close + chunks + b"Content-Length: 5\r\n\r\n5\r\n" + event[:5] + b"\r\n0\r\n\r\n",
            "two lengths": close + b"Content-Length: 5\r\nContent-Length: 33\r\n\r\n" + event,
            "no length": close + b"Content-Length: -1\r\n\r\n" + event,
            "bad chunk": close + chunks + b"\r\nzz\r\n",
            "large header": close + b"X: " + b"a" * 50_000 + b"\r\n\r\n",
            "large target": b"POST /" + b"a" * 50_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
            "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            "NUL in a header": close + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n",
        }
        return [Case(name=name, wire=wire) for name, wire in wires.items()]


OUT_OF_RANGE = (
    (b'"timestamp":1e999', "bad_timestamp"),
    (b'"timestamp":' + b"9" * 400, "bad_timestamp"),
    (b'"timestamp":"soon"', "bad_timestamp"),
    (b'"timestamp":[1]', "bad_timestamp"),
    (b'"timestamp":true', "bad_timestamp"),
    (b'"name":"exposure"', "missing_experiment"),
    (b'"name":7', "bad_name"),
    (b'"name":""', "bad_name"),
    (b'"site":{}', "bad_site"),
    (b'"url":"data:text/html;base64,PGI+"', "bad_url"),
    (b'"url":"javascript:alert(1)"', "bad_url"),
    (b'"url":"https://[::1"', "bad_url"),
    (b'"site":"../../etc"', "bad_site"),
    (b'"site":"a\'; DROP TABLE events; --"', "bad_site"),
    (b'"name":"' + b"n" * 500 + b'"', "bad_name"),
)
"""Fields that get an event rejected, and the rejection's code."""
