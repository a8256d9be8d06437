"""Made-up rows read as the real pipeline would have made them from the same beacons."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice

import msgspec
import pytest

from analytics_server.access.sites.sites import Sites
from analytics_server.collect.enrich.agent import AgentParser
from analytics_server.collect.enrich.bot import BotDetector
from analytics_server.collect.enrich.geo import GeoLocator
from analytics_server.collect.enrich.referrer import ReferrerClassifier
from analytics_server.collect.enrich.url import UrlCleaner
from analytics_server.collect.formats.beacon import Beacon
from analytics_server.collect.identity.duplicates import Duplicates
from analytics_server.collect.identity.session import Sessions
from analytics_server.collect.identity.visitor import VisitorHasher
from analytics_server.collect.limits import RateLimiter
from analytics_server.collect.pipeline import Pipeline
from analytics_server.collect.steps.parts import Parts
from analytics_server.collect.steps.run import Origin
from analytics_server.config import Config, PrivacySection
from analytics_server.demo.rows import RowMaker
from analytics_server.demo.send import Encoder
from analytics_server.demo.traffic import planned_sessions
from analytics_server.model import COLUMN_INDEX, COLUMN_NAMES, SESSION_ATTRIBUTES
from analytics_server.spelling.source_names import load_sources
from analytics_server.store import make_store
from tests.demo.orders import SMALL, order

DRAWN = frozenset({"event_id", "visitor_id", "country", "region", "city"})
"""Ids are drawn, and places given; all other columns must agree."""


def pipeline() -> Pipeline:
    config = Config()
    collect = config.collect
    parts = Parts(
        sites=Sites(make_store(config), config.sites),
        urls=UrlCleaner(collect.query_keys, collect.mask_emails, config.limits.url_chars),
        bots=BotDetector(collect.user_agent_cache),
        agents=AgentParser(collect.user_agent_cache),
        geo=GeoLocator(""),
        referrers=ReferrerClassifier(load_sources()),
        visitors=VisitorHasher(lambda day: b"salt", enabled=True),
        sessions=Sessions(timeout_s=1_800, client_timeout_s=86_400, capacity=100_000, clock=time.monotonic),
        duplicates=Duplicates(window_s=86_400, capacity=100_000, clock=time.monotonic),
        site_limiter=RateLimiter(0, 10, time.monotonic),
        new_sites=RateLimiter(0, 10, time.monotonic),
    )
    return Pipeline(parts, collect, config.limits, lambda: SMALL.span.end)


def compared() -> Iterator[tuple[list[object], tuple[object, ...]]]:
    """Pairs of a made-up row and the pipeline's row for the same event."""
    maker, encoder, run = RowMaker(SMALL.site, Config(), 1), Encoder(SMALL.site, 1), pipeline()
    for session in islice(planned_sessions(SMALL), 400):
        beacons = msgspec.convert(encoder(session), list[Beacon])
        outcome = run.run(list(enumerate(beacons)), Origin("127.0.0.1", "", trusted=True))
        assert not outcome.rejected
        assert not outcome.dropped
        yield from zip(maker.rows(session), outcome.rows, strict=True)


def test_rows_equal_what_the_pipeline_makes_of_the_same_beacons() -> None:
    count = 0
    for ours, theirs in compared():
        count += 1
        for index, name in enumerate(COLUMN_NAMES):
            if name not in DRAWN:
                assert ours[index] == theirs[index], name
    assert count > 1_000


def test_attributes_are_equal_over_a_session() -> None:
    maker = RowMaker(SMALL.site, Config(), 1)
    indexes = [COLUMN_INDEX[name] for name in (*SESSION_ATTRIBUTES, "session_id", "session_start")]
    for session in islice(planned_sessions(SMALL), 300):
        assert len({tuple(row[index] for index in indexes) for row in maker.rows(session)}) == 1


def test_visitor_id_differs_per_utc_day_and_person() -> None:
    maker = RowMaker(SMALL.site, Config(), 1)
    days: dict[object, set[int]] = {}
    for session in planned_sessions(SMALL):
        for row in maker.rows(session):
            visitor, ts_us = row[COLUMN_INDEX["visitor_id"]], row[COLUMN_INDEX["ts"]]
            assert visitor
            assert isinstance(ts_us, int)
            days.setdefault(visitor, set()).add(ts_us // 86_400_000_000)
    assert all(len(seen) == 1 for seen in days.values())
    assert 0.7 * SMALL.sessions < len(days) < SMALL.sessions


def test_visitor_ids_are_left_out_when_the_config_says_so() -> None:
    maker = RowMaker(SMALL.site, Config(privacy=PrivacySection(visitor="off")), 1)
    rows = [row for session in islice(planned_sessions(SMALL), 20) for row in maker.rows(session)]
    assert {row[COLUMN_INDEX["visitor_id"]] for row in rows} == {0}


def test_event_ids_are_distinct_version_4_uuids_drawn_from_the_seed() -> None:
    def ids(seed: int) -> list[object]:
        maker = RowMaker(SMALL.site, Config(), seed)
        chosen = islice(planned_sessions(order(sessions=100)), 100)
        return [row[COLUMN_INDEX["event_id"]] for session in chosen for row in maker.rows(session)]

    found = ids(1)
    assert len(set(found)) == len(found)
    assert all(isinstance(one, bytes) and one[6] >> 4 == 4 and one[8] >> 6 == 2 for one in found)
    assert found == ids(1)
    assert found != ids(2)


@pytest.mark.parametrize("channel", ["Organic Search", "Direct", "Paid Search", "Email", "AI Assistants", "Referral"])
def test_channels_are_those_of_the_classifier(channel: str) -> None:
    maker = RowMaker(SMALL.site, Config(), 1)
    index = COLUMN_INDEX["channel"]
    assert any(row[index] == channel for session in planned_sessions(SMALL) for row in maker.rows(session))
