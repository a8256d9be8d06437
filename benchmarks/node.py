"""Server-side tracking: one Node.js process with the client library, into the full server, as fast as it goes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec

from benchmarks import geo
from benchmarks.count import count_stored
from benchmarks.process import ROOT, TOKEN, ToolMissing, server
from benchmarks.report import Figure, Result, at_least, below, exactly
from benchmarks.settings import Settings
from benchmarks.traffic import SITE

SENDER = Path(__file__).with_name("node_sender.mjs")
CLIENT = ROOT / "web" / "client"
TIMEOUT_S = 600.0


class NodeMissing(ToolMissing):
    """There is no Node.js, or the packages that build the client are not there."""

    def __init__(self) -> None:
        super().__init__("Node.js 20 or newer and the packages of web/ are needed: make web/node_modules/installed.")


class Sent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the sender saw."""

    delivered: int
    rejected: int
    dropped: int
    queued: int
    seconds: float
    resident_bytes: int
    processor_us: int


def run(settings: Settings) -> Result:
    """Build the client, send, and count what was kept."""
    node = shutil.which("node")
    if node is None or not (ROOT / "web" / "node_modules" / "installed").is_file():
        raise NodeMissing
    modules = settings.directory / "client"
    subprocess.run([node, str(CLIENT / "build" / "package.mjs"), str(modules)], check=True, timeout=TIMEOUT_S)
    data_dir = settings.directory / "node"
    with server(data_dir, {"ANALYTICS_GEO_DATABASE": str(geo.database(settings.directory))}) as running:
        config = msgspec.json.encode({"apiBaseUrl": running.url, "appName": SITE, "token": TOKEN}).decode()
        done = subprocess.run(
            [node, str(SENDER), str(modules / "node" / "index.js"), config, str(settings.node_events)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        server_s = running.cpu_s()
    sent = msgspec.json.decode(done.stdout, type=Sent)
    stored = count_stored(data_dir)
    figures = [
        Figure(name="acknowledged", value=sent.delivered / sent.seconds, unit="events/s", target=at_least(20_000)),
        Figure(name="sender, processor time", value=sent.processor_us / settings.node_events, unit="µs/event"),
        Figure(name="server, processor time", value=server_s * 1e6 / settings.node_events, unit="µs/event"),
        Figure(name="sender, memory at most", value=sent.resident_bytes / (1 << 20), unit="MiB", target=below(512)),
        Figure(name="waiting at most", value=sent.queued, unit="events"),
        Figure(name="refused", value=sent.rejected + sent.dropped, unit="events", target=exactly(0)),
        Figure(name="lost", value=settings.node_events - stored.rows, unit="events", target=exactly(0)),
        Figure(name="stored twice", value=stored.rows - stored.event_ids, unit="events", target=exactly(0)),
    ]
    return Result(benchmark="node", figures=figures, details={"sent": sent})
