"""What the tests of the client have: the built package, a real server, a real browser."""

from __future__ import annotations

from tests.web.conftest import browser, built, context, engine, modules, page, server, site

__all__ = ["browser", "built", "context", "engine", "modules", "page", "server", "site"]
