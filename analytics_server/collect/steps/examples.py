"""Examples of rejected events, to find their sender by: the page's host and path, or the site's name.

Constraint: it identifies no person. No query string, fragment or user info; e-mail addresses are masked; it is short.
Where that can't be told from the text, nothing is shown. (Of robots: `enrich/robot_name.py`.)
"""

from __future__ import annotations

import re

from analytics_server.collect.enrich.url import CleanUrl, mask_emails
from analytics_server.collect.enrich.values import cut

ADDRESS_CHARS = 100
NAME_CHARS = 64

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,31}):(?!\d)", re.IGNORECASE | re.ASCII)
_USER = re.compile(r"^(?:[^/:]*:(?!\d{1,5}(?:/|$)).*|[^/]*)@", re.DOTALL | re.ASCII)
"""A name and a password, which may have a slash in it."""
_PLACE = re.compile(r"^[/.~]|\\|^(?:users|home)/", re.IGNORECASE)
"""A path alone may be one of a person's device."""
_PARAMETER = re.compile(r";[^/]*")


def shown_address(url: str) -> str:
    """Host and path of an address that can't be a page's; of one that is not http or https only the scheme.

    A file's path tells a person's name, an extension's host one browser.
    """
    text = re.split(r"[?#]", cut(url, 4 * ADDRESS_CHARS).strip(), maxsplit=1)[0]
    scheme = _SCHEME.match(text)
    if scheme is None:
        return "" if _PLACE.search(text) else _masked(text, ADDRESS_CHARS)
    name = scheme[1].lower()
    if name not in ("http", "https"):
        return f"{name}:"
    rest = text[scheme.end() :].lstrip("/\\")
    return _masked(f"{name}://{_USER.sub('', rest)}", ADDRESS_CHARS)


def shown_page(page: CleanUrl) -> str:
    """Host and path of an app's page, without any query. Nothing is left that names a person or an installation."""
    return _masked(f"{page.hostname}{page.path.partition('?')[0]}", ADDRESS_CHARS)


def shown_name(site: str) -> str:
    """What an event named as its site, where that can be no site's name."""
    return _masked(re.split(r"[?#]", cut(site, 4 * NAME_CHARS).strip(), maxsplit=1)[0], NAME_CHARS)


def _masked(text: str, chars: int) -> str:
    shown = mask_emails(_PARAMETER.sub("", text))
    return shown if len(shown) <= chars else f"{shown[: chars - 1]}…"
