"""Browser, operating system and kind of device, from the user-agent string.

ua-parser's rules in the Rust engine name browser and system (50 to 150 µs, hence the
cache). Its device rules are left out: the kind of device needs a dozen words, theirs are
hundreds of telephone models that no question needs, and most of the memory and start-up time.

Known limits: since iPadOS 13 Safari on an iPad says it is a Mac, and telling them apart
would need fingerprinting, so such an iPad counts as Desktop. Windows 11 says Windows 10,
and macOS stays at 10.15: browsers froze both.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ua_parser import Domain
from ua_parser.loaders import load_lazy_builtins
from ua_parser.regex import Resolver

from analytics_server.collect.enrich.cache import GenerationCache

MAX_USER_AGENT_CHARS = 512
"""The rest is ignored: real ones are shorter, and matching takes time per character."""


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
}

_TV = re.compile(
    r"smart-?tv|\btv\b|googletv|appletv|hbbtv|web0s|netcast|bravia|viera|crkey|roku|\baft[a-z]{1,4}\d?\b"
    r"|philipstv|tizen.*\btv|playstation|xbox|nintendo",
    re.IGNORECASE,
)
_TABLET = re.compile(
    r"ipad|playbook|kindle|\bsilk(?!.*mobile)|tablet(?! pc)|(?=.*android)(?!.*(?:mobile|opera m))", re.IGNORECASE
)
_MOBILE = re.compile(
    r"iphone|ipod|mobile|android|phone|blackberry|\bbb10\b|opera m(?:in|ob)i|kaios|symbian|series ?[46]0|j2me|midp",
    re.IGNORECASE,
)
_DESKTOP = re.compile(r"windows|macintosh|mac os x|x11|linux|\bcros\b|freebsd|openbsd", re.IGNORECASE)

_DEVICES: Final = ((_TV, "TV"), (_TABLET, "Tablet"), (_MOBILE, "Mobile"), (_DESKTOP, "Desktop"))


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
        found = self._resolve(text, _NAMES)
        browser, system = found.user_agent, found.os
        browser_name = _BROWSERS.get(browser.family, browser.family) if browser else ""
        system_name = _SYSTEMS.get(system.family, system.family) if system else ""
        return Agent(
            browser_name,
            (browser.major or "") if browser and browser_name else "",
            system_name,
            _version(system.major, system.minor) if system and system_name else "",
            _device(text),
        )


def _version(major: str | None, minor: str | None) -> str:
    if not major:
        return ""
    return f"{major}.{minor}" if minor else major


def _device(user_agent: str) -> str:
    """First match wins. Consoles are TVs, Android without the word Mobile is a tablet."""
    return next((device for pattern, device in _DEVICES if pattern.search(user_agent)), "")
