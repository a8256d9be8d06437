"""Recipients of data: the services outside this program that the settings name."""

from __future__ import annotations

from urllib.parse import urlsplit

from analytics_server.config import Config
from analytics_server.spelling.host_names import is_loopback
from analytics_server.store import capabilities_of


def sub_processors(config: Config) -> list[str]:
    """One line for each service on another machine: what it is, where, what it learns. Hosts only, no credentials."""
    engine = "" if capabilities_of(config).owns_files else host_of(config.clickhouse.url)
    named = (
        (engine, "ClickHouse", "it holds all that is stored"),
        (
            config.mail.host,
            "Mail server",
            "it learns the addresses of people who sign in here, and nothing of visitors",
        ),
        (
            host_of(config.oidc.issuer),
            "Sign-in provider",
            "it learns who signs in here and when, and nothing of visitors",
        ),
    )
    return [f"{what} at {host}: {learns}" for host, what, learns in named if host and not is_loopback(host)]


def host_of(url: str) -> str:
    """The host of an address, empty if there is none."""
    return urlsplit(url).hostname or ""
