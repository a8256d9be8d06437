"""Dependencies of the steps: the parts that look things up or remember them, given to each step's maker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from analytics_server.access.sites.sites import Sites
from analytics_server.collect.enrich.agent import AgentParser
from analytics_server.collect.enrich.bot import BotDetector
from analytics_server.collect.enrich.geo import GeoLocator
from analytics_server.collect.enrich.referrer import ReferrerClassifier
from analytics_server.collect.enrich.url import UrlCleaner
from analytics_server.collect.identity.duplicates import Duplicates
from analytics_server.collect.identity.session import Sessions
from analytics_server.collect.identity.visitor import VisitorHasher
from analytics_server.collect.limits import RateLimiter
from analytics_server.collect.steps.run import EventContext, Run
from analytics_server.collect.steps.verdict import Drop, Verdict
from analytics_server.config import CollectSection, LimitsSection


class Parts(msgspec.Struct, frozen=True):
    """The parts the steps are made of."""

    sites: Sites
    urls: UrlCleaner
    bots: BotDetector
    agents: AgentParser
    geo: GeoLocator
    referrers: ReferrerClassifier
    visitors: VisitorHasher
    sessions: Sessions
    duplicates: Duplicates
    site_limiter: RateLimiter
    new_sites: RateLimiter
    """By the sender's network: how many sites its first events may make."""

    is_opted_out: Callable[[str, str], bool] = lambda site_id, user_id: False
    """Must events of a user not be stored on a site?"""


RequestFunction = Callable[[Run], Drop | None]
"""Reads what holds for all events of the request; a drop is theirs together."""

EventFunction = Callable[[EventContext, Run], Verdict]
"""Reads one event of the request, and fills in what the steps after it need."""


class RequestStep(msgspec.Struct, frozen=True):
    """A named step of the request. `make` is called once, so that the step looks up none of its parts later.

    The name stands in `/metrics` and in the benchmark of the steps.
    """

    name: str
    make: Callable[[Parts, CollectSection, LimitsSection], RequestFunction]


class EventStep(msgspec.Struct, frozen=True):
    """A named step of each event, likewise. `make` gives None when the settings leave it nothing to do."""

    name: str
    make: Callable[[Parts, CollectSection, LimitsSection], EventFunction | None]
    trusted_only: bool = False
    """Only for requests with a token that may collect."""


@dataclass(slots=True)
class StepCount:
    """Events that a step has not passed on, since the process started."""

    dropped: int = 0
    rejected: int = 0
