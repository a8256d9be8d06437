"""Parsing of a user-agent string: an app's own name in front, and the model of an Android device.

Both are words that people and makers choose freely ("Bot A1" is a telephone, "Baby Monitor" an app), so
what looks for browsers and bots must not read them as it reads the rest.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_USER_AGENT_CHARS = 512
"""The rest is ignored: real ones are shorter, and matching takes time per character."""

_OWN_NAME = re.compile(r"([^\W\d_][^/()<>{}$;@+]{0,63})/v?(\d[\w.+-]*)")
_PLATFORM = re.compile(
    r"\b(?:android|iphone|ipad|ipod|ios|ipados|tvos|macos|macintosh|mac os x|windows nt|(?:open)?harmonyos|openharmony"
    r"|darwin|dalvik|okhttp|cfnetwork|alamofire)\b",
    re.IGNORECASE,
)
_NO_NAME = re.compile(
    r"(?:mozilla|ucweb|dalvik|okhttp|cfnetwork|darwin|alamofire|dart|java|python|curl|wget)[/-]|opera[/ ]"
    r"|(?:nokia|blackberry|sonyericsson|samsung-|lg-|mot-|sec-).*midp|.*mozilla",
    re.IGNORECASE,
)
"""Browsers, libraries that name no app, and simple telephones, whose browsers call themselves by the model."""
_MODEL = re.compile(
    r"\((?:linux; )?(?:u; |arm_64; )?(?:android|harmonyos)[ \d.]*;(?: [a-z]{2}[-_][a-z]{2};)? ?"
    r"([^;()/]+?)(?= build/|[;)])",
    re.IGNORECASE,
)
_ROBOT = re.compile(r"(?!cubot)[\w-]*(?:bot|crawler|spider)|(?:mobile|tablet|compatible)\b.*", re.IGNORECASE)
"""What stands in a model's place and is none: `Googlebot` alone, and Firefox's word for the kind of device."""


class OwnName(NamedTuple):
    """What an app calls itself: `MyShop/3.2.1 (Android 14; Pixel 8)` is `MyShop`, `3.2.1`, and the rest."""

    name: str
    version: str
    rest: str


def own_name(text: str) -> OwnName | None:
    """The app's own name, if the string begins with one and names a system or library of apps after it."""
    found = _OWN_NAME.match(text)
    if found is None or _NO_NAME.match(text) is not None:
        return None
    rest = text[found.end() :]
    if _PLATFORM.search(rest) is None:
        return None
    return OwnName(found[1].strip(), found[2], rest)


def without_model(text: str) -> str:
    """The string without the model of an Android device, which may be any words."""
    found = _MODEL.search(text)
    if found is None or _ROBOT.fullmatch(found[1]) is not None:
        return text
    return f"{text[: found.start(1)]}K{text[found.end(1) :]}"
