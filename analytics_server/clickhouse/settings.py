"""Settings that come with a request: a few are followed, the others are dropped and named in a header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from analytics_server.errors import RequestError
from analytics_server.sql.printer.asked_settings import FILTERS, FOLLOWED
from analytics_server.zones import find_zone

SWITCHES = (
    *FOLLOWED,
    "output_format_json_quote_64bit_integers",
    "output_format_json_quote_decimals",
    "output_format_json_quote_denormals",
)
"""0 or 1."""
MOMENTS = ("simple", "iso", "unix_timestamp")
OFTEN = ("date_time_output_format", "session_timezone")

OF_THE_PROTOCOL = frozenset(
    {
        "add_http_cors_header",
        "buffer_size",
        "cancel_http_readonly_queries_on_client_close",
        "client_protocol_version",
        "compress",
        "database",
        "decompress",
        "default_format",
        "enable_http_compression",
        "http_wait_end_of_query",
        "http_zlib_compression_level",
        "log_comment",
        "password",
        "query",
        "query_id",
        "quota_key",
        "role",
        "send_progress_in_http_headers",
        "session_check",
        "session_id",
        "session_timeout",
        "stacktrace",
        "user",
        "wait_end_of_query",
    }
)
"""What is no setting of a query: read elsewhere, or taken and without a meaning here."""


@dataclass(slots=True)
class Settings:
    """`values`: as they go into the statement; `dropped`: names of those that are not followed."""

    values: dict[str, str | int] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)


def read_settings(given: Mapping[str, str]) -> Settings:
    """The settings among an address's parameters.

    Raises `RequestError` (bad_setting) for those that would change which rows are meant.
    """
    settings = Settings({"session_timezone": "UTC", "output_format_write_statistics": 0})
    for name, value in given.items():
        if name in OF_THE_PROTOCOL or name.startswith("param_"):
            continue
        if name in FILTERS and value.strip() not in ("", "0", "{}"):
            raise RequestError(
                f"The setting {name} can't be used here: write the condition into the query.", code="bad_setting"
            )
        if name in SWITCHES and value in ("0", "1", "false", "true"):
            settings.values[name] = int(value in ("1", "true"))
        elif (name == "date_time_output_format" and value in MOMENTS) or (
            name == "session_timezone" and find_zone(value) is not None
        ):
            settings.values[name] = value
        else:
            settings.dropped.append(name)
    return settings
