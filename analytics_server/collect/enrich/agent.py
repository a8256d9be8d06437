"""User-agent enrichment: browser, operating system and kind of device.

ua-parser's rules in the Rust engine name browser and system (50 to 150 µs, hence the
cache). Its device rules are left out: the kind of device needs a dozen words, theirs are
hundreds of telephone models that no question needs, and most of the memory and start-up time.

Known limits: since iPadOS 13 Safari on an iPad says it is a Mac; only touch points, if they are sent,
tell them apart (`as_tablet`). Windows 11 says Windows 10, and macOS stays at 10.15: browsers froze both, and
only client hints know better (`client_hints`). HarmonyOS up to 4 gives Android's version instead of its own, so its
version stays empty.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ua_parser import OS, Domain, UserAgent
from ua_parser.loaders import load_lazy_builtins
from ua_parser.regex import Resolver

from analytics_server.collect.enrich.cache import GenerationCache
from analytics_server.collect.enrich.user_agent import MAX_USER_AGENT_CHARS, own_name, without_model


class Agent(NamedTuple):
    """`browser_version` is the major one; `device` is Desktop, Mobile, Tablet, TV or ""."""

    browser: str = ""
    browser_version: str = ""
    os: str = ""
    os_version: str = ""
    device: str = ""


UNKNOWN_AGENT = Agent()

_NAMES = Domain.USER_AGENT | Domain.OS

_BROWSERS: Final = {
    "Other": "",
    "Chrome Mobile": "Chrome",
    "Chrome Mobile iOS": "Chrome",
    "Mobile Safari": "Safari",
    "Mobile Safari UI/WKWebView": "iOS WebView",
    "Chrome Mobile WebView": "Android WebView",
    "Android": "Android Browser",
    "Google": "Google App",
    "Firefox Mobile": "Firefox",
    "Firefox iOS": "Firefox",
    "Edge Mobile": "Edge",
    "Opera Mobile": "Opera",
    "Opera Tablet": "Opera",
    "IE": "Internet Explorer",
    "IE Mobile": "Internet Explorer",
    "Yandex Browser": "Yandex",
    "UC Browser": "UC Browser",
    "DuckDuckGo Mobile": "DuckDuckGo",
    "Brave Mobile": "Brave",
    "Vivaldi Mobile": "Vivaldi",
    "QQ Browser Mobile": "QQ Browser",
}
_SYSTEMS: Final = {
    "Other": "",
    "Mac OS X": "macOS",
    "Mac OS": "macOS",
    "Chrome OS": "ChromeOS",
    "GNU/Linux": "Linux",
    "Web0S": "webOS",
    "ATV OS X": "tvOS",
}
_HARMONY = re.compile(r"openharmony (\d+)(?:\.(\d+))?|\bharmonyos\b", re.IGNORECASE)
_MACOS = re.compile(r"\bmacos[ /](\d+)(?:\.(\d+))?", re.IGNORECASE)
"""As apps write it; browsers write `Mac OS X`."""
_HUAWEI = re.compile(r"huaweibrowser/(\d+)", re.IGNORECASE)
_DALVIK = re.compile(r"dalvik/", re.IGNORECASE)

_HAND_HELD = re.compile(r"\b(?:iphone|ipod|windows phone)\b", re.IGNORECASE)
"""Says it for sure, whatever an app in it is called ("Pluto TV")."""
_TV = re.compile(
    r"smart-?tv|\b(?:tv|tvos)\b|googletv|appletv|hbbtv|web0s|netcast|bravia|viera|crkey|roku"
    r"|\baft[a-z]{1,6}\d{0,3}(?: build|[;)])|philipstv|playstation|xbox|nintendo",
    re.IGNORECASE,
)
_TABLET = re.compile(
    r"ipad|playbook|kindle|\bsilk(?!.*mobile)|tablet(?! pc)|\bkf[a-z]{2,5}(?: build|[;)])|\bsm-[tx]\d{3}",
    re.IGNORECASE,
)
_ANDROID = re.compile(r"android", re.IGNORECASE)
_BROWSER = re.compile(r"mozilla/|\bopera/", re.IGNORECASE)
_SAYS_MOBILE = re.compile(r"mobile|opera m", re.IGNORECASE)
_MOBILE = re.compile(
    r"mobile|android|phone|blackberry|\bbb10\b|opera m(?:in|ob)i|kaios|symbian|series ?[46]0|j2me|midp",
    re.IGNORECASE,
)
_DESKTOP = re.compile(
    r"windows|macintosh|macos|mac os x|x11|linux|\bcros\b|freebsd|openbsd|\((?:pc|2in1);", re.IGNORECASE
)

_DEVICES: Final = ((_HAND_HELD, "Mobile"), (_TV, "TV"), (_TABLET, "Tablet"), (_MOBILE, "Mobile"), (_DESKTOP, "Desktop"))
_DEVICES_OF_SYSTEMS: Final = {"iOS": "Mobile", "Android": "Mobile", "HarmonyOS": "Mobile", "macOS": "Desktop"}
"""For apps whose string names the system only."""


def as_tablet(agent: Agent, user_agent: str) -> Agent:
    """The same for a device with several touch points: no Mac has any, so a Mac's Safari that has is an iPad's.

    The system's version is not known: the string gives a Mac's, which is frozen.
    """
    if "Macintosh" not in user_agent or "Safari/" not in user_agent or "Chrome/" in user_agent:
        return agent
    return agent._replace(os="iPadOS", os_version="", device="Tablet")


def is_tablet_model(model: str) -> bool:
    """Is the model of an Android device a tablet's?"""
    return _TABLET.search(f"{model})") is not None


class AgentParser:
    """Parses user-agent strings; loading the rules takes about 50 ms, once."""

    __slots__ = ("_agents", "_resolve")

    def __init__(self, cache_size: int) -> None:
        browsers, systems, _ = load_lazy_builtins()
        self._resolve = Resolver((browsers, systems, []))
        self._agents: GenerationCache[str, Agent] = GenerationCache(cache_size)

    def parse(self, user_agent: str) -> Agent:
        """What the string says; all fields empty for one that says nothing."""
        if not user_agent:
            return UNKNOWN_AGENT
        if len(user_agent) > MAX_USER_AGENT_CHARS:
            user_agent = user_agent[:MAX_USER_AGENT_CHARS]
        agent = self._agents.get(user_agent)
        if agent is None:
            agent = self._parse(user_agent)
            self._agents.put(user_agent, agent)
        return agent

    def _parse(self, user_agent: str) -> Agent:
        text = user_agent.encode("utf-8", "replace").decode("utf-8")
        found = self._resolve(without_model(text), _NAMES)
        system, version = _system(found.os, text)
        browser, major = _browser(found.user_agent, text)
        device = _device(text) or _DEVICES_OF_SYSTEMS.get(system, "")
        if system == "iOS" and device == "Desktop":  # Chrome or Firefox on an iPad that says it is a Mac
            device = "Tablet"
        return Agent(browser, major, system, version, device)


def _browser(found: UserAgent | None, text: str) -> tuple[str, str]:
    """Name and major version; an app goes by its own name."""
    if (app := own_name(text)) is not None:
        return app.name, app.version.partition(".")[0]
    if (huawei := _HUAWEI.search(text)) is not None:
        return "Huawei Browser", huawei[1]
    if _DALVIK.match(text):
        return "Android App", ""
    name = _BROWSERS.get(found.family, found.family) if found else ""
    return name, (found.major or "") if found and name else ""


def _system(found: OS | None, text: str) -> tuple[str, str]:
    """Name and version, as far as it is the system's own."""
    if (harmony := _HARMONY.search(text)) is not None:
        return "HarmonyOS", _version(harmony[1], harmony[2])
    if (mac := _MACOS.search(text)) is not None:
        return "macOS", _version(mac[1], mac[2])
    name = _SYSTEMS.get(found.family, found.family) if found else ""
    return name, _version(found.major, found.minor) if found and name else ""


def _version(major: str | None, minor: str | None) -> str:
    if not major:
        return ""
    return f"{major}.{minor}" if minor else major


def _device(user_agent: str) -> str:
    """First match wins. Consoles are TVs; on Android, a browser that nowhere says Mobile is on a tablet."""
    for pattern, device in _DEVICES:
        if pattern is _MOBILE and _ANDROID.search(user_agent) and _is_of_a_tablet(user_agent):
            return "Tablet"
        if pattern.search(user_agent):
            return device
    return ""


def _is_of_a_tablet(user_agent: str) -> bool:
    return _BROWSER.search(user_agent) is not None and _SAYS_MOBILE.search(user_agent) is None
