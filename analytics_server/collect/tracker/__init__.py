"""The browser tracker as the server hands it out.

Owns `a.js` and `extras.min.js`, which `make tracker` builds from `web/client/src` (they are kept in the
repository, so that running and installing need no JavaScript tool), and the one thing that is decided at start:
the script's own name, and the way from the script's path to the endpoint's. That way is relative, so a reverse
proxy may serve both under any prefix. The extras have the script's address with `?more`, so that whatever
passes on the one passes on the other.
"""

from __future__ import annotations

import json
import posixpath
from importlib.resources import files
from urllib.parse import quote

COLLECT_PLACEHOLDER = "__COLLECT__"
"""Stands in `a.js` where the relative way to the endpoint belongs."""
NAME_PLACEHOLDER = "__NAME__"
"""Stands in `a.js` where the last part of the script's path belongs."""


def load_script(collect_path: str, script_path: str) -> bytes:
    """`a.js` for a server whose endpoint and script have these absolute paths.

    Reads a file of the package: call it at start, not for each request.
    """
    return fill(files(__name__).joinpath("a.js").read_text(encoding="utf-8"), collect_path, script_path).encode()


def fill(script: str, collect_path: str, script_path: str) -> str:
    """The script with its placeholders replaced."""
    script = script.replace(COLLECT_PLACEHOLDER, _javascript(_relative(collect_path, script_path)))
    return script.replace(NAME_PLACEHOLDER, _javascript(quote(posixpath.basename(script_path))))


def load_extras() -> bytes:
    """What `a.js` loads on pages that ask for more than views and engagement."""
    return files(__name__).joinpath("extras.min.js").read_bytes()


def _relative(collect_path: str, script_path: str) -> str:
    """The endpoint as a URL reference that the browser resolves against the script's address."""
    way = posixpath.relpath(collect_path, posixpath.dirname(script_path))
    slash = "/" if collect_path.endswith("/") and not way.endswith("/") else ""
    return f"{'' if way.startswith('.') else './'}{way}{slash}"


def _javascript(text: str) -> str:
    """The text as it may stand between double quotes in JavaScript."""
    return json.dumps(text)[1:-1]
