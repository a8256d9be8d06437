"""Names of databases and clusters in statements."""

from __future__ import annotations

from analytics_server.errors import ConfigError


def quoted_name(name: str) -> str:
    """The name as a quoted identifier. Raises `ConfigError` for one with other signs than letters and digits."""
    if not name.replace("_", "").isalnum() or not name.isascii():
        raise ConfigError(f"{name!r} can't be the name of a database or cluster: use letters, digits and underscores.")
    return f"`{name}`"
