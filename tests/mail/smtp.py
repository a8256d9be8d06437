"""A small mail server that real clients speak to: in a thread of its own, with TLS, and with faults as servers have.

What it takes is kept, as it was sent. It speaks as much of SMTP (RFC 5321) as a client that hands over a message needs.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTPUTF8
from typing import Literal

START_S, FAREWELL_S = 30.0, 2.0


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that was taken, and how it came."""

    sender: str
    recipient: str
    body: bytes
    greeting: str
    credentials: str
    is_encrypted: bool

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.body, policy=SMTPUTF8)

    @property
    def text(self) -> str:
        return str(self.message.get_content())

    @property
    def link(self) -> str:
        (line,) = [line for line in self.text.splitlines() if "#invitation=" in line]
        return line


@dataclass(slots=True)
class SmtpServer:
    """`context`: TLS; `at_once`: from the beginning, otherwise by STARTTLS. The others are faults."""

    context: ssl.SSLContext | None = None
    at_once: bool = False
    credentials: str = ""
    fault: Literal["", "silent", "drips", "recipient", "data", "sender", "hangs up", "no starttls", "no farewell"] = ""
    port: int = 0
    taken: list[Taken] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    """Every line of every client."""
    gone: int = 0
    """Clients that have come and gone: one a message."""
    _clients: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, started: threading.Event, stopping: asyncio.Event) -> None:
        context = self.context if self.at_once else None
        server = await asyncio.start_server(self._client, "127.0.0.1", self.port, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await stopping.wait()
        server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, TimeoutError):
                await self._talk(reader, writer)
        finally:
            self.gone += 1
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), FAREWELL_S)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())
            await writer.drain()

        if self.fault == "silent":
            await reader.read()
            return
        if self.fault == "drips":  # each byte alone comes in time
            while True:
                writer.write(b"2")
                await writer.drain()
                await asyncio.sleep(0.1)
        greeting = sender = recipient = credentials = ""
        is_encrypted = self.at_once
        await say("220 mail.example ESMTP")
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            self.heard.append(line)
            verb = line[:8].upper()
            if verb.startswith("EHLO"):
                greeting = line[5:]
                offers = ["SMTPUTF8", "8BITMIME"]
                if self.context is not None and not is_encrypted and self.fault != "no starttls":
                    offers.append("STARTTLS")
                if self.credentials:
                    offers.append("AUTH PLAIN")
                for offer in ("mail.example", *offers):
                    await say(f"250-{offer}")
                await say("250 SIZE 1000000")
            elif verb.startswith("STARTTLS") and self.context is not None and self.fault != "no starttls":
                await say("220 go on")
                await writer.start_tls(self.context)
                is_encrypted = True
            elif verb.startswith("AUTH"):
                credentials = base64.b64decode(line.split()[2]).decode().replace("\0", " ").strip()
                is_known = credentials == self.credentials
                await say("235 ok" if is_known else f"535 {credentials} is not known")
            elif verb.startswith("MAIL"):
                sender = line.partition("<")[2].partition(">")[0]
                await say(f"550 {sender} may not send" if self.fault == "sender" else "250 ok")
            elif verb.startswith("RCPT"):
                recipient = line.partition("<")[2].partition(">")[0]
                await say(f"550 {recipient} is not here" if self.fault == "recipient" else "250 ok")
            elif verb.startswith("DATA"):
                await say("354 go on")
                body = (await reader.readuntil(b"\r\n.\r\n"))[:-3]
                if self.fault == "hangs up":
                    return
                if self.fault == "data":
                    await say(f"554 no message to {recipient} is taken")
                    continue
                self.taken.append(Taken(sender, recipient, body, greeting, credentials, is_encrypted))
                await say("250 taken")
            elif verb.startswith("QUIT"):
                if self.fault == "no farewell":
                    await reader.read()
                    return
                await say("221 bye")
                return
            else:
                await say("502 not known")


@contextmanager
def running(server: SmtpServer) -> Iterator[SmtpServer]:
    """The server, in a thread."""
    started, loops = threading.Event(), list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]()

    async def work() -> None:
        stopping = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stopping))
        await server.serve(started, stopping)

    thread = threading.Thread(target=lambda: asyncio.run(work()), daemon=True)
    thread.start()
    assert started.wait(START_S)
    try:
        yield server
    finally:
        ((loop, stopping),) = loops
        loop.call_soon_threadsafe(stopping.set)
        thread.join(START_S)
        assert not thread.is_alive()
