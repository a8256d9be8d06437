"""Browser, system and device from real user-agent strings."""

from __future__ import annotations

import pytest

from analytics_server.collect.enrich.agent import UNKNOWN_AGENT, AgentParser
from tests.collect.enrich.apps import APPS
from tests.collect.enrich.user_agents import AGENTS


@pytest.fixture(scope="module")
def parser() -> AgentParser:
    return AgentParser(100)


@pytest.mark.parametrize(("user_agent", "expected"), AGENTS, ids=[" ".join(expected) for _, expected in AGENTS])
def test_names_browser_system_and_device(
    parser: AgentParser, user_agent: str, expected: tuple[str, str, str, str, str]
) -> None:
    assert parser.parse(user_agent) == expected


@pytest.mark.parametrize(("user_agent", "expected"), APPS, ids=[user_agent for user_agent, _ in APPS])
def test_apps_and_browsers_in_apps_are_the_devices_they_run_on(
    parser: AgentParser, user_agent: str, expected: tuple[str, str, str, str, str]
) -> None:
    assert parser.parse(user_agent) == expected


def test_the_second_look_at_a_string_is_remembered(parser: AgentParser) -> None:
    first = parser.parse(AGENTS[0][0])
    assert parser.parse(AGENTS[0][0]) is first


@pytest.mark.parametrize("user_agent", ["", "   ", "nothing known", "\ud800", "x" * 100_000, "\x00"])
def test_what_says_nothing_gives_empty_fields(parser: AgentParser, user_agent: str) -> None:
    assert parser.parse(user_agent) == UNKNOWN_AGENT


def test_ipad_that_says_it_is_a_mac_counts_as_desktop(parser: AgentParser) -> None:
    ipados = (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_6) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/17.5 Safari/605.1.15"
    )
    assert parser.parse(ipados).device == "Desktop"
