"""Where the pieces of a streamed answer are read from: a server's response, the engine in process, or its file.

The library streams the engine in process only without settings beside the statement, and only formats of which pieces
can stand one behind the other; everything else it keeps in memory as a whole. So settings stand in the statement, and
formats that have an end of their own are written to a file by the engine. Settings of the format have no effect in the
statement of a stream: they are set on the handle, which is for this stream alone.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from clickhouse_connect.driver.client import Client

from analytics_server.store.literals import literal
from analytics_server.store.protocol import Parameters, Settings
from analytics_server.store.settings import plain

if TYPE_CHECKING:
    from _typeshed import SupportsRead

FILE_FORMATS = frozenset({"Parquet", "Arrow"})
OF_THE_RESPONSE = frozenset({"wait_end_of_query"})
"""Settings of a server's HTTP interface, which no statement knows."""

OF_THE_FORMAT = ("output_format_", "date_time_output_format")


@contextlib.contextmanager
def source_of(
    client: Client,
    sql: str,
    parameters: Parameters | None,
    settings: Settings,
    format_: str,
    scratch: Path | None,
    *,
    has_settings: bool,
    mark: str,
) -> Iterator[SupportsRead[bytes]]:
    """The answer as a file to read. Blocking. `scratch`: of the engine in process, where it may write.

    `has_settings`: the statement has its own. `mark`: by which it can be ended.
    """
    values = plain(parameters)
    if scratch is None:
        with client.raw_stream(sql, parameters=values, settings={**settings, "query_id": mark}, fmt=format_) as source:
            yield source
        return
    client.command(f"SET log_comment = {literal(mark)}")
    for name, value in settings.items():
        if name.startswith(OF_THE_FORMAT):
            client.command(f"SET {name} = {literal(value)}")
    statement = sql if has_settings else _with_settings(sql, settings)
    if format_ not in FILE_FORMATS:
        with client.raw_stream(statement, parameters=values, fmt=format_) as source:
            yield source
        return
    path = scratch / f"{uuid.uuid4().hex}.{format_.lower()}"
    try:
        client.raw_query(f"{statement}\nINTO OUTFILE {literal(str(path))}", parameters=values, fmt=format_)
        with path.open("rb") as file:
            yield file
    finally:
        path.unlink(missing_ok=True)


def _with_settings(sql: str, settings: Settings) -> str:
    pairs = [f"{name} = {literal(value)}" for name, value in settings.items() if name not in OF_THE_RESPONSE]
    return f"{sql}\nSETTINGS {', '.join(pairs)}" if pairs else sql
