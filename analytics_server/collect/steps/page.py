"""The page steps: read what an event says of its page and of itself."""

from __future__ import annotations

import msgspec

from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.values import EXPERIMENT_CHARS, DetailReader, cut
from analytics_server.collect.formats.beacon import Exposure
from analytics_server.collect.steps.examples import shown_address, shown_page
from analytics_server.collect.steps.parts import EventFunction, Parts
from analytics_server.collect.steps.run import NO_PAGE, EventContext, Run
from analytics_server.collect.steps.verdict import Drop, Reject, Verdict
from analytics_server.config import CollectSection, LimitsSection
from analytics_server.model import PAGEVIEW, Site

EXPOSURE = "exposure"

_MISSING_EXPERIMENT = Reject("missing_experiment", "An exposure needs experiment.id and experiment.variant.")
_BAD_EXPERIMENT = Reject("bad_experiment", "experiment.id and experiment.variant must not be empty.")
_LOCALHOST = "localhost"
"""Where Capacitor, Ionic and Tauri serve an app's pages to its own web view, by http or https."""
_NO_APPS = Reject(
    "bad_url",
    "{} is the page of an app, an extension or a file, which this site does not count: send an http or https address,"
    ' or set "allow_apps": true on the site (PUT /api/v1/sites/…).',
    field="url",
)
_MISSING_URL = Reject("missing_url", "A pageview needs a {}.", field="url")


def make_page(parts: Parts, settings: CollectSection, limits: LimitsSection) -> EventFunction:
    """Clean the page's URL; drop events of hosts that the site does not allow."""
    clean, clean_app, own_hosts = parts.urls.clean, parts.urls.clean_app, parts.referrers.own_hosts
    must = f"{{}} must be an absolute http or https address of at most {limits.url_chars} characters."
    bad_url = Reject("bad_url", must, field="url")

    def of_app(event: EventContext) -> Verdict:
        """A page that has no http address: only of sites that count apps, whatever hosts they allow."""
        url = event.beacon.url or ""
        page = clean_app(url)
        if page is None:
            return msgspec.structs.replace(bad_url, example=shown_address(url))
        if not event.site.allow_apps:
            return msgspec.structs.replace(_NO_APPS, example=shown_address(url) or shown_page(page))
        event.page = page
        return None

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
                return of_app(event)
            run.url = url
            run.page = event.page = page
        site = event.site
        if not site.allowed_hosts:
            return None
        hostname = event.page.hostname
        if hostname in site.allowed_hosts or own_hosts(site.allowed_hosts).hold(hostname):
            return None
        return _foreign_host(hostname, site, run)

    return step


def _foreign_host(hostname: str, site: Site, run: Run) -> Verdict:
    """The drop of an event whose page is not of an allowed host; what a server or an app does needs no page."""
    if not hostname and (run.trusted or site.allow_apps):
        return None
    if site.allow_apps and (hostname == _LOCALHOST or hostname.endswith(f".{_LOCALHOST}")):
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
