"""Admission steps: is an event well formed, its site known, within the rate limit and to be kept; who sent it?"""

from __future__ import annotations

import msgspec

from analytics_server.access.sites.sites import valid_site_id
from analytics_server.collect.address import bare, network_of
from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.values import identifier, storable
from analytics_server.collect.identity.session import foreign_id
from analytics_server.collect.steps.examples import shown_name
from analytics_server.collect.steps.parts import EventFunction, Parts
from analytics_server.collect.steps.run import EventContext, Run
from analytics_server.collect.steps.verdict import Drop, Reject, Verdict, bot
from analytics_server.config import CollectSection, LimitsSection
from analytics_server.model import Site

SESSION_ID_CHARS = 64
USER_ID_CHARS = 256

_BAD_TIMESTAMP = Reject(
    "bad_timestamp", "{} must be ISO 8601 or an epoch number, since the year 2000.", field="timestamp"
)
_BAD_SITE = Reject("bad_site", "{} must be a name such as example.com, at most 128 characters.", field="site")
_OPTED_OUT = Drop(DropReason.OPTED_OUT)
_NEW_SITES = Reject("too_many_requests", "This address has sent events of too many new sites. Try again later.")


def make_check(parts: Parts, settings: CollectSection, limits: LimitsSection) -> EventFunction:
    """The shapes are right already: check the values of name, ids and time."""
    name_chars = limits.name_chars
    bad_name = Reject("bad_name", f"{{}} must be at most {name_chars} printable characters.", field="name")

    def step(event: EventContext, run: Run) -> Verdict:
        beacon = event.beacon
        event.name = name = beacon.name
        if len(name) > name_chars or not (name.isprintable() or storable(name)):
            return bad_name
        session_id, user_id = beacon.session_id or "", beacon.user_id or ""
        if session_id or user_id:
            run.outcome.index = event.index
        if session_id:
            session_id = foreign_id(identifier("session_id", session_id, SESSION_ID_CHARS, run.outcome))
        if user_id:
            user_id = identifier("user_id", user_id, USER_ID_CHARS, run.outcome)
        event.session_id, event.user_id = session_id, user_id
        return _BAD_TIMESTAMP if event.ts_ms is None else None

    return step


def make_site(parts: Parts, settings: CollectSection, limits: LimitsSection) -> EventFunction:
    """Find the event's site, or make it where the settings allow."""
    sites, new_sites = parts.sites, parts.new_sites
    get = sites.get

    def make_or_reject(event: EventContext, run: Run) -> Site | Reject:
        """For a name that is not known as it is spelt."""
        site_id = valid_site_id(event.beacon.site)
        if not site_id:
            return msgspec.structs.replace(_BAD_SITE, example=shown_name(event.beacon.site))
        if (
            not run.trusted
            and sites.may_create(site_id)
            and not new_sites.allow(network := network_of(run.origin.address))
        ):
            run.outcome.limit(new_sites.wait_s(network))
            return _NEW_SITES
        site = sites.get_or_create(site_id)
        if site is None:
            run.outcome.unknown_sites += 1
            return Reject("unknown_site", f"The site {site_id!r} does not exist on this server.")
        return site

    def step(event: EventContext, run: Run) -> Verdict:
        site = get(event.beacon.site)
        if site is None:
            made = make_or_reject(event, run)
            if isinstance(made, Reject):
                return made
            site = made
        event.site, event.site_id = site, site.site_id
        return None

    return step


def make_rate_limit(parts: Parts, settings: CollectSection, limits: LimitsSection) -> EventFunction:
    """Refuse what a site sends beyond its own rate, or the server's for each site.

    Without a token, a request's events of one site are allowed or refused together, and count as so many: a page can
    only send its request again as a whole, so that of one that was taken in part the rest would be lost. A server is
    told which of its events to send again: its batches are so large that one would block the site for long.
    """
    allow, for_all = parts.site_limiter.allow, parts.site_limiter.is_on

    def step(event: EventContext, run: Run) -> Verdict:
        own_rate = event.site.events_per_s
        if not (own_rate or for_all):
            return None
        site_id = event.site_id
        if (allowed := run.allowed.get(site_id)) is None:
            allowed = allow(site_id, own_rate=own_rate)
            if not run.trusted:
                run.allowed = {**run.allowed, site_id: allowed}
        elif allowed:
            allow(site_id, own_rate=own_rate, owing=True)
        if allowed:
            return None
        run.outcome.limit(parts.site_limiter.wait_s(site_id, own_rate=own_rate))
        return Reject("too_many_requests", f"The site {site_id!r} sends more events than it may. Try again later.")

    return step


def make_opt_out(parts: Parts, settings: CollectSection, limits: LimitsSection) -> EventFunction:
    """Drop the events of a user that has opted out, before anything is remembered of them."""
    is_opted_out = parts.is_opted_out

    def step(event: EventContext, run: Run) -> Verdict:
        return _OPTED_OUT if event.user_id and is_opted_out(event.site_id, event.user_id) else None

    return step


def make_sender(parts: Parts, settings: CollectSection, limits: LimitsSection) -> EventFunction:
    """Of a trusted server's event: whose address and user agent it is about; drop it when that is automation's."""
    drop_bots, judge, name_of = settings.drop_bots, parts.bots.judge, parts.bots.name_of

    def step(event: EventContext, run: Run) -> Verdict:
        beacon, last = event.beacon, run.sender
        address, user_agent = beacon.ip, beacon.user_agent
        if last is not None and address == last.beacon.ip and user_agent == last.beacon.user_agent:
            event.address, event.user_agent = last.address, last.user_agent
            return None
        if address:
            event.address = bare(address) or address
        if user_agent is None:
            event.by_user = address is None and bool(beacon.user_id)
        else:
            event.user_agent = user_agent
            if drop_bots:
                known = run.user_agents
                if known is None:
                    known = run.user_agents = set()
                if user_agent not in known:
                    if (kind := judge(user_agent)) is not None:
                        return bot(kind, name_of(user_agent))
                    known.add(user_agent)
        run.sender = event if address is not None else None
        return None

    return step
