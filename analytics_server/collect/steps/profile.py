"""The profile step, before any enrichment: who may send to the site, and what must not be used.

What must not be stored is left out of the row (`visitor.make_row`), which is the one place where rows are made.
"""

from __future__ import annotations

from analytics_server.collect.address import shortened
from analytics_server.collect.formats.beacon import Beacon
from analytics_server.collect.steps.parts import EventFunction, Parts
from analytics_server.collect.steps.run import EventContext, Run
from analytics_server.collect.steps.verdict import Reject, Verdict
from analytics_server.config import CollectSection, LimitsSection
from analytics_server.profiles.refusal import FORBIDDEN
from analytics_server.profiles.tables import STANDARD, profile_of


def make_profile(parts: Parts, settings: CollectSection, limits: LimitsSection) -> EventFunction:
    """Refuse a script's events where the profile takes none, and of the pixel what a script may have put there; forget
    the user, shorten the address where it says so."""

    def step(event: EventContext, run: Run) -> Verdict:
        name = event.site.profile
        if name == STANDARD:
            return None
        profile = profile_of(name)
        if not profile.script and not run.trusted:
            if run.origin.by_script:
                return Reject(
                    FORBIDDEN,
                    f"The site's profile {name!r} takes no events of a script: send them from a server with a token, or"
                    " by the pixel.",
                )
            _leave_image(event)
        if not profile.by_user:
            event.user_id, event.by_user = "", False
        if profile.shortened_bytes:
            event.hashed_address = shortened(event.address, profile.shortened_bytes)
        return None

    return step


def _leave_image(event: EventContext) -> None:
    """Of the pixel: what the server that rendered the page knew of it.

    An address of an image may be made by a script, too, and nothing tells the two apart; so what a script would read
    in the browser, or could tell visitors apart by, is not looked at.
    """
    sent = event.beacon
    event.beacon = Beacon(site=sent.site, name=sent.name, url=sent.url)
    event.session_id = event.user_id = ""
