"""Output helpers that all commands share."""

from __future__ import annotations

import click

from analytics_server.errors import AnalyticsError


def print_error(error: AnalyticsError | OSError) -> None:
    """What went wrong, in one line: also a port in use, or a directory that can't be written."""
    said = error.message if isinstance(error, AnalyticsError) else " ".join(str(error).split())
    click.secho(f"analytics-server: {said}", fg="red", err=True)
