"""Client hints: what they add to a reduced user-agent string, and that they never make an answer worse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.collect.enrich.agent import Agent, AgentParser, as_tablet
from analytics_server.collect.enrich.client_hints import ClientHints, hint_headers, read_hints, refine, says_headless
from tests.collect.enrich.user_agents import AGENTS

PARSER = AgentParser(1_000)
WINDOWS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)
_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/"
MAC = _MAC + "537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
LINUX = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
PHONE = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36"
)
TABLET = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
EDGE = WINDOWS + " Edg/142.0.0.0"
MAC_SAFARI = _MAC + "605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15"
CHROME = '"Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"'
BRAVE = '"Chromium";v="142", "Brave";v="142", "Not_A Brand";v="99"'


def refined(user_agent: str, **headers: str) -> Agent:
    named = {f"sec-ch-ua-{name.replace('_', '-')}": text for name, text in headers.items()}
    return refine(
        PARSER.parse(user_agent),
        read_hints(hint_headers({key.replace("-brands", ""): text for key, text in named.items()})),
    )


@pytest.mark.parametrize(
    ("user_agent", "brands", "browser"),
    [
        (WINDOWS, CHROME, ("Chrome", "142")),
        (WINDOWS, BRAVE, ("Brave", "142")),
        (WINDOWS, '"Not)A;Brand";v="8", "Chromium";v="142", "Microsoft Edge";v="142"', ("Edge", "142")),
        (WINDOWS, '"Opera";v="124", "Chromium";v="142", "Not/A)Brand";v="24"', ("Opera", "124")),
        (WINDOWS, '"Chromium";v="142", "Vivaldi";v="7.6", "(Not(A:Brand";v="99"', ("Vivaldi", "7")),
        (PHONE, '"Samsung Internet";v="28.0", "Chromium";v="142", "Not.A/Brand";v="99"', ("Samsung Internet", "28")),
        (WINDOWS, '"YaBrowser";v="25.8", "Chromium";v="142", "Not=A?Brand";v="24"', ("Yandex", "25")),
        (WINDOWS, '" Not A;Brand";v="99", "Chromium";v="142", "Ecosia Browser";v="142"', ("Ecosia Browser", "142")),
        (WINDOWS, '"Google Chrome";v="142", "Something Else";v="1", "Chromium";v="142"', ("Chrome", "142")),
        (PHONE, '"Android WebView";v="142", "Chromium";v="142", "Not?A_Brand";v="99"', ("Android WebView", "142")),
        # GREASE, Chromium alone, and what can't be read, say nothing
        (WINDOWS, '"Not A Brand";v="99", "Chromium";v="142"', ("Chrome", "142")),
        (WINDOWS, '"Chromium";v="142", "(Not A Brand;";v="99.0.0.0"', ("Chrome", "142")),
        (WINDOWS, "", ("Chrome", "142")),
        (WINDOWS, "Brave", ("Chrome", "142")),
        (WINDOWS, '"Brave', ("Chrome", "142")),
        (WINDOWS, '"<script>";v="1"', ("Chrome", "142")),
        # what the string names by itself stays
        (EDGE, BRAVE, ("Edge", "142")),
        (MAC_SAFARI, BRAVE, ("Safari", "17")),
        ("MyShop/3.2.1 (Android 14; Pixel 8)", BRAVE, ("MyShop", "3")),
    ],
)
def test_brands_name_the_browser(user_agent: str, brands: str, browser: tuple[str, str]) -> None:
    assert refined(user_agent, brands=brands)[:2] == browser


def test_the_list_of_full_versions_goes_before_the_brands() -> None:
    agent = refined(
        WINDOWS,
        brands='"Chromium";v="142", "Opera";v="1"',
        full_version_list='"Chromium";v="142.0.7444.60", "Opera";v="124.0.5705.15"',
    )

    assert agent[:2] == ("Opera", "124")


@pytest.mark.parametrize(
    ("user_agent", "platform", "version", "system"),
    [
        (WINDOWS, '"Windows"', '"15.0.0"', ("Windows", "11")),
        (WINDOWS, '"Windows"', '"13.0.0"', ("Windows", "11")),
        (WINDOWS, '"Windows"', '"12.0.0"', ("Windows", "10")),
        (WINDOWS, '"Windows"', '"10.0.0"', ("Windows", "10")),
        (WINDOWS, '"Windows"', '"0.3.0"', ("Windows", "8.1")),
        (WINDOWS, '"Windows"', '"0.1"', ("Windows", "7")),
        (WINDOWS, '"Windows"', "", ("Windows", "10")),
        (WINDOWS, '"Windows"', '"x"', ("Windows", "10")),
        (MAC, '"macOS"', '"26.1.0"', ("macOS", "26.1")),
        (MAC, '"macOS"', '"14.4.1"', ("macOS", "14.4")),
        (MAC, '"macOS"', "", ("macOS", "10.15")),
        (PHONE, '"Android"', '"15.0.0"', ("Android", "15")),
        (PHONE, '"Android"', '"8.1.0"', ("Android", "8.1")),
        (LINUX, '"Linux"', '"6.5.0"', ("Linux", "")),
        (LINUX, '"Chrome OS"', '"16093.68.0"', ("ChromeOS", "")),
        (LINUX, '"Android"', '"14.0.0"', ("Android", "14")),
        # they contradict each other: the string stays
        (WINDOWS, '"Linux"', '"6.5.0"', ("Windows", "10")),
        (MAC, '"Windows"', '"15.0.0"', ("macOS", "10.15")),
        (PHONE, '"Unknown"', '"1"', ("Android", "10")),
        ("a browser of its own kind", '"Windows"', '"15.0.0"', ("Windows", "11")),
    ],
)
def test_the_platform_names_the_system(user_agent: str, platform: str, version: str, system: tuple[str, str]) -> None:
    assert refined(user_agent, brands=CHROME, platform=platform, platform_version=version)[2:4] == system


@pytest.mark.parametrize(
    ("user_agent", "hints", "device"),
    [
        (PHONE, {"mobile": "?1", "platform": '"Android"'}, "Mobile"),
        (PHONE, {"mobile": "?0", "platform": '"Android"'}, "Mobile"),
        (TABLET, {"mobile": "?0", "platform": '"Android"'}, "Tablet"),
        (LINUX, {"mobile": "?0", "platform": '"Android"'}, "Tablet"),
        (LINUX, {"mobile": "?1", "platform": '"Android"'}, "Mobile"),
        (LINUX, {"mobile": "?0", "platform": '"Linux"'}, "Desktop"),
        (WINDOWS, {"mobile": "?1", "platform": '"Windows"'}, "Desktop"),
        (WINDOWS, {"mobile": "nonsense"}, "Desktop"),
        (PHONE, {"mobile": "?1", "model": '"Pixel Tablet"'}, "Tablet"),
        (PHONE, {"mobile": "?1", "model": '"SM-X910"'}, "Tablet"),
        (PHONE, {"mobile": "?1", "model": '"Pixel 8"'}, "Mobile"),
        ("a browser of its own kind", {"mobile": "?1"}, "Mobile"),
        ("a browser of its own kind", {"mobile": "?0", "platform": '"Windows"'}, "Desktop"),
    ],
)
def test_the_device_is_told_by_what_is_mobile(user_agent: str, hints: dict[str, str], device: str) -> None:
    assert refined(user_agent, brands=CHROME, **hints).device == device


@pytest.mark.parametrize(("user_agent", "expected"), AGENTS, ids=[" ".join(expected) for _, expected in AGENTS])
def test_hints_of_another_browser_change_nothing_that_is_known(user_agent: str, expected: tuple[str, ...]) -> None:
    agent = refined(user_agent, brands='"Not_A Brand";v="99"', mobile="?0", platform='"Unknown"')

    assert agent == expected


@pytest.mark.parametrize("brands", ['"HeadlessChrome";v="142"', '"Chromium";v="1", "headlesschrome";v="1"'])
def test_a_browser_without_a_window_says_so(brands: str) -> None:
    assert says_headless(brands)
    assert not says_headless(CHROME)


@given(texts=st.tuples(*[st.text(max_size=80)] * 5))
def test_any_hints_are_survived(texts: tuple[str, str, str, str, str]) -> None:
    for user_agent in (WINDOWS, ""):
        agent = refine(PARSER.parse(user_agent), ClientHints(*texts))
        assert all(len(field) < 64 for field in agent)


@pytest.mark.parametrize(
    ("user_agent", "tablet"),
    [
        (MAC_SAFARI, True),
        (MAC_SAFARI.replace("Version/17.5", "CriOS/142 Version/17.5"), True),
        (MAC, False),
        (WINDOWS, False),
        (PHONE, False),
        ("MyShop/1 (Macintosh)", False),
    ],
)
def test_a_mac_that_feels_several_fingers_is_an_ipad(user_agent: str, tablet: bool) -> None:
    agent = PARSER.parse(user_agent)
    again = as_tablet(agent, user_agent)

    assert (again != agent) is tablet
    assert not tablet or again[2:] == ("iPadOS", "", "Tablet")
    assert again.browser == agent.browser
