"""The yardstick of `wire`: nothing but a socket in front of the engine in process.

`python -m benchmarks.wire_bare DIR` answers `POST /` whose body is a format and a statement, in pieces of the same size
and, with `?compress=1`, in the same LZ4 blocks as ClickHouse's interface does. One answer at a time, without a thread.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from analytics_server.clickhouse.compression import packed_block
from analytics_server.config import Config, ServerSection

PIECE_BYTES = 262_144


class Handler(BaseHTTPRequestHandler):
    """One answer after the other, on connections that are kept."""

    protocol_version = "HTTP/1.1"
    client: Client

    def do_POST(self) -> None:
        """The answer, in chunks."""
        format_, _, sql = self.rfile.read(int(self.headers["Content-Length"])).decode().partition("\n")
        in_blocks = "compress=1" in self.path
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with self.client.raw_stream(sql, fmt=format_) as source:
            while piece := source.read(PIECE_BYTES):
                ready = packed_block(piece) if in_blocks else piece
                self.connection.sendall(b"%x\r\n" % len(ready))
                self.connection.sendall(ready)
                self.connection.sendall(b"\r\n")
        self.connection.sendall(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def main() -> None:
    """Serve until ended."""
    config = Config(server=ServerSection(data_dir=sys.argv[1]))
    Handler.client = clickhouse_connect.get_client(
        interface="chdb", path=str(config.engine_dir), database=config.clickhouse.database
    )
    with HTTPServer(("127.0.0.1", 0), Handler) as bare:
        print(f"http://127.0.0.1:{bare.server_port}", flush=True)
        bare.serve_forever()


if __name__ == "__main__":
    main()
