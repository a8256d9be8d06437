"""The steps that read what an event says of its page and of itself."""

from __future__ import annotations

from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.values import EXPERIMENT_CHARS, DetailReader, cut
from analytics_server.collect.formats.beacon import Exposure
from analytics_server.collect.steps.examples import shown_address
from analytics_server.collect.steps.parts import EventFunction, Parts
from analytics_server.collect.steps.run import NO_PAGE, EventContext, Run
from analytics_server.collect.steps.verdict import Drop, Reject, Verdict
from analytics_server.config import CollectSection, LimitsSection
from analytics_server.model import PAGEVIEW

EXPOSURE = "exposure"

_MISSING_EXPERIMENT = Reject("missing_experiment", "An exposure needs experiment.id and experiment.variant.")
_BAD_EXPERIMENT = Reject("bad_experiment", "experiment.id and experiment.variant must not be empty.")
_MISSING_URL = Reject("missing_url", "A pageview needs a url.")


def make_page(parts: Parts, settings: CollectSection, limits: LimitsSection) -> EventFunction:
    """Clean the page's URL; drop events of hosts that the site does not allow."""
    clean = parts.urls.clean
    bad_url = Reject(
        "bad_url", f"url must be an absolute http or https address of at most {limits.url_chars} characters."
    )

    def step(event: EventContext, run: Run) -> Verdict:
        url = event.beacon.url
        if not url:
            if event.name == PAGEVIEW:
                return _MISSING_URL
            event.page = NO_PAGE
        elif url == run.url:
            event.page = run.page
        else:
            page = clean(url)
            if page is None:
                return Reject(bad_url.code, bad_url.message, shown_address(url))
            run.url = url
            run.page = event.page = page
        return _foreign_host(event, run) if event.site.allowed_hosts else None

    return step


def _foreign_host(event: EventContext, run: Run) -> Verdict:
    """The drop of an event whose page is not of an allowed host; a server's own event needs no page."""
    hostname = event.page.hostname
    if hostname in event.site.allowed_hosts or (run.trusted and not hostname):
        return None
    about = f"The page's host {hostname!r} is not among the site's allowed hosts." if hostname else ""
    return Drop(DropReason.HOSTNAME, about, example=hostname)


def make_details(parts: Parts, settings: CollectSection, limits: LimitsSection) -> EventFunction:
    """Read the columns from scroll_depth to props, and the title."""
    details = DetailReader(parts.urls, limits, mask=settings.mask_emails)
    read, read_text, title_chars = details.read, details.text, limits.title_chars

    def step(event: EventContext, run: Run) -> Verdict:
        beacon = event.beacon
        if event.name == EXPOSURE and (fault := _exposure_fault(beacon.experiment)) is not None:
            return fault
        outcome = run.outcome
        outcome.index = event.index
        event.details = read(beacon, outcome)
        title = beacon.title
        if title != run.title:
            run.title, run.text = title, read_text(title, title_chars)
        event.text = run.text
        return None

    return step


def _exposure_fault(experiment: Exposure | None) -> Reject | None:
    """An exposure without experiment and variant says nothing."""
    if experiment is None:
        return _MISSING_EXPERIMENT
    named = cut(experiment.id, EXPERIMENT_CHARS) and cut(experiment.variant, EXPERIMENT_CHARS)
    return None if named else _BAD_EXPERIMENT
