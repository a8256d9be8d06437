"""Where `[clickhouse] url` says that the engine in process keeps its files: `chdb:///path`, percent-encoded."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit


def engine_directory(url: str) -> Path | None:
    """The directory that the address names. None for a server's, and for what is no address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return Path(unquote(parts.netloc + parts.path)) if parts.scheme == "chdb" else None
