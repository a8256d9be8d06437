"""The steps of a beacon by themselves, and the two ways to store properties.

Microseconds per event of decoding, of the pipeline as a whole, of each of its steps and of
encoding a row for the log; then size and speed of Map against JSON for `props`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count

import msgspec

from analytics_server.access.sites.sites import Sites
from analytics_server.collect.enrich.agent import AgentParser
from analytics_server.collect.enrich.bot import BotDetector
from analytics_server.collect.enrich.geo import GeoLocator
from analytics_server.collect.enrich.referrer import ReferrerClassifier
from analytics_server.collect.enrich.url import UrlCleaner
from analytics_server.collect.formats.beacon import Beacon
from analytics_server.collect.formats.native import decode_track
from analytics_server.collect.identity.duplicates import Duplicates
from analytics_server.collect.identity.session import Sessions
from analytics_server.collect.identity.visitor import VisitorHasher
from analytics_server.collect.limits import RateLimiter
from analytics_server.collect.pipeline import Pipeline
from analytics_server.collect.steps.parts import Parts
from analytics_server.collect.steps.run import Origin
from analytics_server.config import Config
from analytics_server.spelling.source_names import load_sources
from analytics_server.store import make_store
from benchmarks import geo, props
from benchmarks.report import Figure, Result
from benchmarks.settings import Settings
from benchmarks.traffic import Template, templates

SALT = b"benchmark's salt"
PASSES = 3


def run(settings: Settings) -> Result:
    """Each step on its own, the best of three passes."""
    requests = templates(settings.beacon_templates)
    pipeline = _pipeline(settings)
    number = count(1)
    bodies = [_body(template, next(number)) for template in _repeated(requests, settings.step_repeats)]
    limits = Config().limits

    def decode() -> None:
        for body in bodies:
            decode_track(body, limits, max_events=1)

    best_decode = _best(decode)
    decoded = [decode_track(body, limits, max_events=1)[0] for body in bodies]
    origins = [
        Origin(f"{template.address[0]}{index // len(requests)}{template.address[1]}", template.user_agent)
        for index, template in enumerate(_repeated(requests, settings.step_repeats))
    ]
    started = time.perf_counter()
    rows = []
    for beacons, origin in zip(decoded, origins, strict=True):
        rows += pipeline.run(beacons, origin).rows
    piped = time.perf_counter() - started
    encode = msgspec.msgpack.Encoder().encode

    def encode_rows() -> None:
        for row in rows:
            encode(row)

    per = 1e6 / len(bodies)
    figures = [
        Figure(name="decode", value=best_decode * per, unit="µs/event"),
        Figure(name="pipeline (one in four opens a session)", value=piped * per, unit="µs/event"),
        *_steps(_pipeline(settings), decoded, origins),
        Figure(name="encode the row", value=_best(encode_rows) * per, unit="µs/event"),
        *props.measure(settings),
    ]
    return Result(benchmark="steps", figures=figures, details={"events": len(bodies), "rows": len(rows)})


def _steps(pipeline: Pipeline, decoded: list[list[tuple[int, Beacon]]], origins: list[Origin]) -> list[Figure]:
    """Each step over all events before the next step begins, so that no clock is read between two steps of an event."""
    started = time.perf_counter()
    runs = [pipeline.begin(beacons, origin) for beacons, origin in zip(decoded, origins, strict=True)]
    per = 1e6 / len(runs)
    figures = [Figure(name="the request's steps", value=(time.perf_counter() - started) * per, unit="µs/event")]
    for name, step in pipeline.event_steps(trusted=False):
        started = time.perf_counter()
        passed = [run for run in runs if step(run.events[0], run) is None]
        figures.append(Figure(name=f"step: {name}", value=(time.perf_counter() - started) * per, unit="µs/event"))
        runs = passed
    return figures


def _best(work: Callable[[], None]) -> float:
    times = []
    for _ in range(PASSES):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def _repeated(requests: list[Template], count_: int) -> list[Template]:
    return [requests[index % len(requests)] for index in range(count_)]


def _body(template: Template, number: int) -> bytes:
    return f"{template.body[0]}00000000-0000-4000-8000-{number:012x}{template.body[1]}".encode()


def _pipeline(settings: Settings) -> Pipeline:
    """The server's own, with a store that is never opened."""
    config = Config()
    collect = config.collect
    parts = Parts(
        sites=Sites(make_store(config), config.sites),
        urls=UrlCleaner(collect.query_keys, collect.mask_emails, config.limits.url_chars),
        bots=BotDetector(collect.user_agent_cache),
        agents=AgentParser(collect.user_agent_cache),
        geo=GeoLocator(str(geo.database(settings.directory))),
        referrers=ReferrerClassifier(load_sources()),
        visitors=VisitorHasher(lambda day: SALT, enabled=True),
        sessions=Sessions(
            timeout_s=collect.session_timeout_s,
            client_timeout_s=collect.client_session_timeout_s,
            capacity=collect.max_sessions,
            clock=time.monotonic,
        ),
        duplicates=Duplicates(
            window_s=collect.duplicate_window_s, capacity=collect.max_duplicate_ids, clock=time.monotonic
        ),
        site_limiter=RateLimiter(0, config.sites.max_sites, time.monotonic),
        new_sites=RateLimiter(0, config.sites.max_sites, time.monotonic),
    )
    return Pipeline(parts, collect, config.limits, time.time)
