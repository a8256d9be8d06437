"""The audit of dependencies: every lock is read, findings are told, and an index out of reach is no finding."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.packaging.vulnerabilities import LOCKS, audit, locked

REQUIREMENTS = Path(__file__).resolve().parent.parent.parent / "requirements"
RELEASES = {
    "/good/1.0/json": {"info": {}, "vulnerabilities": []},
    "/bad/2.0/json": {
        "vulnerabilities": [
            {"id": "PYSEC-1", "aliases": ["CVE-1"], "fixed_in": ["2.1"], "withdrawn": None},
            {"id": "PYSEC-2", "aliases": [], "fixed_in": [], "withdrawn": "2026-01-01T00:00:00Z"},
        ]
    },
    "/odd/3.0/json": ["something else"],
}


class Index(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(RELEASES.get(self.path)).encode()
        self.send_response(200 if self.path in RELEASES else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


@pytest.fixture
def index() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_known_vulnerabilities_are_told_with_the_version_that_mends_them(index: str) -> None:
    found, unknown = audit([("good", "1.0"), ("bad", "2.0"), ("odd", "3.0"), ("gone", "4.0")], index)
    assert [str(one) for one in found] == ["bad 2.0: PYSEC-1 (CVE-1), mended in 2.1"]
    assert unknown == ["odd", "gone"]


def test_an_index_out_of_reach_is_no_finding() -> None:
    names = [f"p{number}" for number in range(50)]
    assert audit([(name, "1") for name in names], "http://127.0.0.1:9") == ([], names)


@pytest.mark.parametrize("name", LOCKS)
def test_every_lock_is_read(name: str) -> None:
    text = (REQUIREMENTS / name).read_text(encoding="utf-8")
    assert (
        len(locked([text])) == sum("==" in line and not line.startswith((" ", "#")) for line in text.splitlines()) > 0
    )
