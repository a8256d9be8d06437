"""The browser tracker as the server hands it out.

Owns `tracker.js` (readable source), `a.js` (what `build.py` makes of it, kept in
the repository so that running and installing need no JavaScript tool) and the one
thing that is decided at start: the way from the script's path to the endpoint's.
That way is relative, so a reverse proxy may serve both under any prefix.
"""

from __future__ import annotations

import json
import posixpath
from importlib.resources import files

COLLECT_PLACEHOLDER = "__COLLECT__"
"""Stands in `a.js` where the relative way to the endpoint belongs."""

CONTENT_TYPE = "text/javascript; charset=utf-8"


def load_script(collect_path: str, script_path: str) -> bytes:
    """`a.js` for a server whose endpoint and script have these absolute paths.

    Reads a file of the package: call it at start, not for each request.
    """
    script = files(__name__).joinpath("a.js").read_text(encoding="utf-8")
    return script.replace(COLLECT_PLACEHOLDER, _javascript(_relative(collect_path, script_path))).encode()


def _relative(collect_path: str, script_path: str) -> str:
    """The endpoint as a URL reference that the browser resolves against the script's address."""
    way = posixpath.relpath(collect_path, posixpath.dirname(script_path))
    slash = "/" if collect_path.endswith("/") and not way.endswith("/") else ""
    return f"{'' if way.startswith('.') else './'}{way}{slash}"


def _javascript(text: str) -> str:
    """The text as it may stand between double quotes in JavaScript."""
    return json.dumps(text)[1:-1]
