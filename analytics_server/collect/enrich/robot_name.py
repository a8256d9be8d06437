"""The name by which a robot calls itself in its user agent, and no more of that: what a site's owner is shown of it.

Constraint: the name identifies no person. A user agent may hold anything (an e-mail address, a person's page, a
device's number), so only the name of a product is taken: followed by its version, or with a robot's word in it, of
letters and few digits, outside links and addresses.
"""

from __future__ import annotations

import re

from analytics_server.collect.enrich.user_agent import MAX_USER_AGENT_CHARS

ROBOT_CHARS = 40

_BETWEEN = re.compile(r"[\s;,()+\[\]]+")
_PRODUCT = re.compile(r"([A-Za-z][A-Za-z0-9]*(?:[._-][A-Za-z0-9]+)*)(?:(/v?\d)|(?=[/:!]|$))")
_OF_ADDRESSES = ("@", "%40", "//", "www.")
_NUMBER = re.compile(r"\d{4}|[0-9a-f]{8}", re.IGNORECASE)
"""May stand for a person or a device."""
_ROBOT = re.compile(
    r"bot|crawl|spider|slurp|headless|phantom|monitor|uptime|scan|preview|fetch|archiv|feed", re.IGNORECASE
)
_NO_NAME = frozenset(
    {
        *("mozilla", "applewebkit", "chrome", "chromium", "safari", "mobile", "version", "firefox", "gecko", "edg"),
        *("edge", "opr", "opera", "android", "ubuntu", "build"),
        *("bot", "bots", "robot", "robots", "crawler", "spider"),
    }
)


def robot_name(user_agent: str) -> str:
    """The first product with a robot's word in it, else the first that is no browser; "" if there is none."""
    first = ""
    for word in _BETWEEN.split(user_agent[:MAX_USER_AGENT_CHARS]):
        match = _PRODUCT.match(word)
        if match is None:
            continue
        name = match[1]
        if name.lower() in _NO_NAME or len(name) > ROBOT_CHARS or _NUMBER.search(name) is not None:
            continue
        if (match[2] is None or first) and _ROBOT.search(name) is None:
            continue
        if any(sign in word for sign in _OF_ADDRESSES):
            continue
        if _ROBOT.search(name) is not None:
            return name
        first = name
    return first
