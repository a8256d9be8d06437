"""What is fuzzed: code that reads what strangers send, or files that a crash may have left in any state.

A target takes bytes and returns. Errors that it declares are expected; any other exception, a broken promise of its
(an assertion here) and a reading that takes too long are findings.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from analytics_server.collect.address import AddressResolver, bare, network_of
from analytics_server.collect.enrich.agent import AgentParser
from analytics_server.collect.enrich.bot import BotDetector
from analytics_server.collect.enrich.client_hints import hint_headers, read_hints, refine
from analytics_server.collect.enrich.referrer import ReferrerClassifier
from analytics_server.collect.enrich.robot_name import robot_name
from analytics_server.collect.enrich.url import UrlCleaner
from analytics_server.collect.formats.table import FORMATS
from analytics_server.collect.front.request_head import parse, size_of
from analytics_server.config import CollectSection, LimitsSection
from analytics_server.errors import RequestError
from analytics_server.ingest.wal import segment
from analytics_server.ingest.wal.segment import SegmentError
from analytics_server.model import COLUMN_NAMES
from analytics_server.spelling.host_names import allowed_host, encoded_host, readable_host
from analytics_server.spelling.source_names import load_sources, source_names, source_spellings
from analytics_server.sql.guard import Guard
from analytics_server.sql.printer.functions import load_functions
from tests.ingest.rows import row
from tests.sql.fuzz import SEEDS as QUERIES

ROOT = Path(__file__).resolve().parent.parent
LIMITS = LimitsSection()
SITE = "mine.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`read` raises nothing but `declared`. `most_bytes`: longer inputs are refused before it is asked."""

    name: str
    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    declared: tuple[type[Exception], ...] = ()
    most_bytes: int = 65_536


def _golden() -> list[Any]:
    beacons: list[Any] = json.loads((ROOT / "golden" / "beacons.json").read_text(encoding="utf-8"))
    return beacons


def _texts(value: Any) -> list[str]:
    """All texts in a document."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for one in inner for text in _texts(one)]


def _agents() -> tuple[bytes, ...]:
    lists = ROOT / "collect" / "enrich" / "lists"
    browsers = [line.partition("\t")[2] for line in (lists / "browsers.tsv").read_text(encoding="utf-8").splitlines()]
    crawlers = (lists / "crawlers.txt").read_text(encoding="utf-8").splitlines()
    return tuple(text.encode() for text in (*browsers[::7], *crawlers[::3]) if text)


def _decoder() -> Target:
    bodies = tuple(msgspec.json.encode(request) for beacon in _golden() for request in beacon["requests"])

    def read(body: bytes) -> None:
        for format in FORMATS:
            try:
                _, rejected, *_ = format.decode(body, LIMITS, max_events=LIMITS.batch_events)
            except RequestError:
                continue
            msgspec.json.encode(rejected)  # they are told

    return Target(name="decoder", read=read, seeds=bodies)


def _head() -> Target:
    post = b"POST /track HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\nUser-Agent: Mozilla/5.0\r\n\r\n{}"
    get = b"GET /track/pixel.gif?site=a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1, ::1\r\n\r\n"
    addresses = AddressResolver(["127.0.0.1", "10.0.0.0/8"])

    def read(data: bytes) -> None:
        found = parse(data)
        size = size_of(data)
        if found is not None:
            headers, body = found
            assert data.endswith(body)
            assert size in (0, len(data)), (size, len(data))
            for name in ("x-forwarded-for", "forwarded"):
                addresses.resolve("127.0.0.1", (headers.get(name, ""),), name)
        text = data.decode("utf-8", "surrogateescape")
        for name in ("x-forwarded-for", "forwarded"):
            network_of(addresses.resolve("127.0.0.1", (text,), name))
        bare(text)

    return Target(name="head", read=read, seeds=(post, get), most_bytes=8_192)


def _url() -> Target:
    settings = CollectSection()
    cleaners = [UrlCleaner(settings.query_keys, mask, LIMITS.url_chars, strip_slash=mask) for mask in (True, False)]
    referrers = ReferrerClassifier(load_sources())
    texts = {text for text in _texts(_golden()) if "/" in text or "." in text}
    seeds = (
        *sorted(text.encode() for text in texts),
        b"https://xn--mller-kva.example:8443/caf%C3%A9?q=a%20b&utm_source=x#frag",
        b"android-app://com.example/path",
        b"//user:secret@[2001:db8::1]:80/../a?page=1&email=a@b.example",
    )

    def read(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        for cleaner in cleaners:
            for found in (cleaner.clean(text), cleaner.clean_app(text), cleaner.clean_referrer(text)):
                for part in found or ():
                    if isinstance(part, str):
                        part.encode()  # it can be stored
            assert len(cleaner.clean_href(text)) <= LIMITS.url_chars
        referrers.classify(text, "a.example")
        source_names().named(text)
        source_spellings(text)
        shown = readable_host(text)
        assert readable_host(shown) == shown
        encoded_host(shown)
        try:
            assert allowed_host(allowed_host(text)) == allowed_host(text)
        except ValueError:
            return

    return Target(name="url", read=read, seeds=seeds)


def _user_agent() -> Target:
    agents, bots = AgentParser(100), BotDetector(100)

    def read(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")  # as headers arrive
        agent = agents.parse(text)
        bots.judge(text)
        bots.name_of(text)
        robot_name(text)
        names = ("sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "sec-ch-ua-platform-version", "sec-ch-ua-model")
        refine(agent, read_hints(hint_headers(dict.fromkeys(names, text))))

    hints = (b'"Chromium";v="142", "Not_A Brand";v="99"', b'"Windows"', b"?1", b'"14.0.0"')
    return Target(name="user-agent", read=read, seeds=(*_agents(), *hints), most_bytes=8_192)


def _wal() -> Target:
    encode = msgspec.msgpack.Encoder().encode
    groups = [[row(title="a"), row(title="ü" * 40)], [row(path="/p", props={"a": "b"})], [row()] * 5]
    whole = segment.head_bytes(7, 1_762_000_000_000)
    for sequence, group in enumerate(groups, 1):
        parts = [segment.array_head(len(group)), *map(encode, group)]
        whole += segment.frame_head(sequence, parts) + b"".join(parts)
    directory = Path(tempfile.mkdtemp(prefix="fuzz-wal-"))
    written = {encode(one) for group in groups for one in group}

    def read(data: bytes) -> None:
        path = directory / "x.wal"
        path.write_bytes(data)
        try:
            scan = segment.scan(path)
        except SegmentError:
            return
        assert 0 <= scan.good_bytes <= len(data)
        assert scan.torn_bytes >= 0
        if scan.header.columns == COLUMN_NAMES:
            for _, payload in segment.frames(path):
                assert {encode(one) for one in segment.rows_of(payload)} <= written  # damage never becomes a row

    return Target(name="wal", read=read, seeds=(whole, whole[: len(whole) // 2]))


def _sql() -> Target:
    guard = Guard(load_functions(), max_chars=20_000, max_rows=1_000)

    def read(data: bytes) -> None:
        guard.check(data.decode("utf-8", "replace"), {}, sites={SITE: ()}, database="d")

    queries = tuple(query.encode() for query in QUERIES)
    return Target(name="sql", read=read, seeds=queries, declared=(RequestError,), most_bytes=20_000)


MAKERS: dict[str, Callable[[], Target]] = {
    "decoder": _decoder,
    "head": _head,
    "url": _url,
    "user-agent": _user_agent,
    "wal": _wal,
    "sql": _sql,
}
"""By name."""
