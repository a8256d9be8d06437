"""What a browser's client hints add to its user-agent string (`Sec-CH-UA` and its siblings).

Chromium's browsers send brands, platform and "mobile" unasked, and more where the page asks for it. They name what
the reduced string hides: Brave calls itself Chrome in it, every Windows is 10 and every macOS 10.15. They only make
an answer better: a browser or system that the string names by itself stays, and brands that mean nothing (GREASE,
`"Not)A;Brand"`) are passed over. Read once per session; what comes of it is cached by the texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from analytics_server.collect.enrich.agent import Agent, is_tablet_model

MAX_HINT_CHARS = 512
BRANDS_HEADER = "sec-ch-ua"

_BRAND = re.compile(r'"((?:[^"\\]|\\.){1,64})"[ \t]*;[ \t]*v[ \t]*=[ \t]*"(\d{0,6})')
_NO_LETTER = re.compile(r"[^a-z]")
_OWN_BRAND = re.compile(r"[A-Za-z][\w .&+-]{1,31}", re.ASCII)
_VERSION = re.compile(r"(\d{1,6})(?:\.(\d{1,6}))?")

_CHROME: Final = "Chrome"
_UNNAMED: Final = frozenset({"", "Chrome", "Chromium", "Android WebView"})
"""What the string says of many browsers that are another."""
_BRANDS: Final = {
    "google chrome": _CHROME,
    "microsoft edge": "Edge",
    "microsoft edge webview2": "Edge",
    "brave": "Brave",
    "brave browser": "Brave",
    "opera": "Opera",
    "opera gx": "Opera",
    "opera mobile": "Opera",
    "operamobile": "Opera",
    "vivaldi": "Vivaldi",
    "samsung internet": "Samsung Internet",
    "yabrowser": "Yandex",
    "yandex": "Yandex",
    "android webview": "Android WebView",
    "duckduckgo": "DuckDuckGo",
    "whale": "Whale",
    "naver whale": "Whale",
    "coccoc": "Coc Coc",
    "coc_coc": "Coc Coc",
    "huaweibrowser": "Huawei Browser",
    "huawei browser": "Huawei Browser",
    "miui browser": "MiuiBrowser",
    "xiaomi browser": "MiuiBrowser",
    "ucbrowser": "UC Browser",
    "qqbrowser": "QQ Browser",
}
_NO_BRANDS: Final = frozenset({"chromium", "chrome"})
_PLATFORMS: Final = {
    "windows": "Windows",
    "macos": "macOS",
    "mac os x": "macOS",
    "linux": "Linux",
    "android": "Android",
    "chrome os": "ChromeOS",
    "chromium os": "ChromeOS",
    "chromeos": "ChromeOS",
    "ios": "iOS",
    "fuchsia": "Fuchsia",
    "tizen": "Tizen",
    "webos": "webOS",
}
_LINUXES: Final = frozenset({"Android", "ChromeOS", "Tizen", "webOS"})
"""Say Linux in their strings when a page for computers is asked for."""
_OLD_WINDOWS: Final = {1: "7", 2: "8", 3: "8.1"}
_FIRST_WINDOWS_11: Final = 13
_FROZEN: Final = {"Windows": "10", "macOS": "10.15", "Android": "10"}
"""The versions that reduced strings give for every one."""
_DESKTOPS: Final = frozenset({"Windows", "macOS", "Linux", "ChromeOS"})


class ClientHints(NamedTuple):
    """The hints' texts, cut; empty for one that was not sent."""

    brands: str = ""
    mobile: str = ""
    platform: str = ""
    platform_version: str = ""
    model: str = ""


HintHeaders = tuple[str | None, str | None, str | None, str | None, str | None, str | None]
"""The headers as they were sent: by these the answers are remembered."""


def hint_headers(headers: Mapping[str, str]) -> HintHeaders:
    """The hints among a request's headers, which are asked by lower-case names."""
    get = headers.get
    return (
        get("sec-ch-ua"),
        get("sec-ch-ua-mobile"),
        get("sec-ch-ua-platform"),
        get("sec-ch-ua-platform-version"),
        get("sec-ch-ua-model"),
        get("sec-ch-ua-full-version-list"),
    )


def read_hints(sent: HintHeaders) -> ClientHints:
    """What the headers say. The list of full versions goes before the brands."""
    brands, mobile, platform, version, model, full_versions = sent
    return ClientHints(
        (full_versions or brands or "")[:MAX_HINT_CHARS],
        (mobile or "").strip()[:2],
        _text(platform),
        _text(version),
        _text(model),
    )


def says_headless(brands: str) -> bool:
    """Does a browser that a program drives give itself away by its brand, whatever its user agent says?"""
    return "eadless" in brands


def refine(agent: Agent, hints: ClientHints) -> Agent:
    """What the string says, made better by the hints; never worse."""
    browser, browser_version = _browser(agent, hints.brands)
    system, version = _system(agent, hints)
    return Agent(browser, browser_version, system, version, _device(agent, system, hints))


def _browser(agent: Agent, brands: str) -> tuple[str, str]:
    as_it_is = agent.browser, agent.browser_version
    if agent.browser not in _UNNAMED:
        return as_it_is
    chrome = other = None
    for brand, version in _BRAND.findall(brands):
        lower = brand.strip().lower()
        name = _BRANDS.get(lower)
        if name == _CHROME:
            chrome = name, version
        elif name is not None:
            return (name, version) if name != agent.browser else as_it_is
        elif other is None and _is_own(lower, brand):
            other = brand.strip(), version
    if other is not None and chrome is None:
        return other
    return chrome if chrome is not None and not agent.browser else as_it_is


def _is_own(lower: str, brand: str) -> bool:
    """Is it a browser's own name, not Chromium's or one of no meaning?"""
    return (
        lower not in _NO_BRANDS
        and _NO_LETTER.sub("", lower) != "notabrand"
        and "headless" not in lower
        and _OWN_BRAND.fullmatch(brand.strip()) is not None
    )


def _system(agent: Agent, hints: ClientHints) -> tuple[str, str]:
    platform = _PLATFORMS.get(hints.platform.lower(), "")
    system, version = agent.os, agent.os_version
    if platform and (not system or (system == "Linux" and platform in _LINUXES)):
        system, version = platform, ""
    if platform == system and version in ("", _FROZEN.get(system)):
        version = _system_version(system, hints.platform_version) or version
    return system, version


def _system_version(system: str, text: str) -> str:
    found = _VERSION.match(text)
    if found is None:
        return ""
    major, minor = int(found[1]), int(found[2] or 0)
    if system == "Windows":
        if major == 0:
            return _OLD_WINDOWS.get(minor, "")
        return "11" if major >= _FIRST_WINDOWS_11 else "10"
    if major == 0:
        return ""
    if system == "macOS":
        return f"{major}.{minor}"
    return (f"{major}.{minor}" if minor else str(major)) if system == "Android" else ""


def _device(agent: Agent, system: str, hints: ClientHints) -> str:
    device = agent.device
    if device == "TV":
        return device
    if system == "Android":
        if hints.model and is_tablet_model(hints.model):
            return "Tablet"
        if device in ("", "Desktop"):
            return {"?1": "Mobile", "?0": "Tablet"}.get(hints.mobile, device)
    if not device and hints.mobile == "?1":
        return "Mobile"
    return "Desktop" if not device and system in _DESKTOPS else device


def _text(header: str | None) -> str:
    """A quoted string's text."""
    return header.strip(' \t"')[:MAX_HINT_CHARS] if header else ""
