"""A server with all faces enabled, not started: what its routes and its description are held to."""

from __future__ import annotations

from analytics_server.app import Server
from analytics_server.config import Config, ServerSection


def complete_server() -> Server:
    """Its routes and operations are those that can be."""
    return Server(Config(server=ServerSection(demo=True)))


def route_paths() -> list[str]:
    """Every path that it answers."""
    return sorted({route.path for route in complete_server().routes()})
