"""Public lists of real browsers and of crawlers, by which detection is measured: `make agents` renews them.

`python -m tests.collect.enrich.lists` measures; with a folder of npm packages it writes the lists anew first.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from analytics_server.collect.enrich.agent import AgentParser
from analytics_server.collect.enrich.bot import BotDetector

FOLDER = Path(__file__).parent


class Measured(NamedTuple):
    """What detection makes of the lists."""

    browsers: int
    false_bots: list[str]
    wrong_devices: list[tuple[str, str]]
    crawlers: int
    missed: list[str]

    @property
    def recall(self) -> float:
        """Of the crawlers, the share that is known as bots."""
        return 1 - len(self.missed) / self.crawlers


def browsers() -> list[tuple[str, str]]:
    """Kinds of devices and strings."""
    lines = (FOLDER / "browsers.tsv").read_text(encoding="utf-8").splitlines()
    return [(device, user_agent) for device, _, user_agent in (line.partition("\t") for line in lines)]


def crawlers() -> list[str]:
    """Strings."""
    return (FOLDER / "crawlers.txt").read_text(encoding="utf-8").splitlines()


def measure() -> Measured:
    """Judge all strings of both lists."""
    bots, agents = BotDetector(2), AgentParser(2)
    real, automated = browsers(), crawlers()
    devices = [(device, user_agent, agents.parse(user_agent).device) for device, user_agent in real]
    return Measured(
        browsers=len(real),
        false_bots=[user_agent for _, user_agent in real if bots.judge(user_agent)],
        wrong_devices=[(found, user_agent) for device, user_agent, found in devices if found.lower() != device],
        crawlers=len(automated),
        missed=[user_agent for user_agent in automated if not bots.judge(user_agent)],
    )
