"""The rows of SQL questions on a directory of ClickHouse in process: `python -m tests.stored DIRECTORY SQL…`.

Prints one line of JSON for each question. It is a process of its own because one process can have one directory.
"""

from __future__ import annotations

import sys

import clickhouse_connect
import orjson


def main() -> None:
    client = clickhouse_connect.get_client(dsn=f"chdb://{sys.argv[1]}", database="analytics")
    for sql in sys.argv[2:]:
        sys.stdout.buffer.write(orjson.dumps(client.query(sql).result_rows, default=str) + b"\n")


if __name__ == "__main__":
    main()
