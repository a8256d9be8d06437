"""How long a site's data is kept: for how many days its events, and for how many its day totals.

Its own settings count, else the config, within the limits of its profile. Files of days, if it has some, are kept until
they are deleted by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from analytics_server.config import ExportSection, PrivacySection
from analytics_server.model import Site, stored_site_id
from analytics_server.profiles.tables import profile_of


@dataclass(frozen=True, slots=True)
class KeptDays:
    """In days; 0: always. Totals are kept at least as long as events."""

    events_days: int
    totals_days: int

    @property
    def totals_outlive(self) -> bool:
        """Are totals of days kept longer than the events that they were made from?"""
        return bool(self.events_days) and self.totals_days > self.events_days


def kept_days_of(site: Site, settings: PrivacySection) -> KeptDays:
    """What holds for a site. A profile's limit is one of totals, too."""
    most = profile_of(site.profile).most_retention_days
    events = site.retention_days or settings.retention_days
    totals = site.rollup_retention_days or settings.rollup_retention_days
    if most:
        events = min(events, most) if events else most
        totals = min(totals, most)
    return KeptDays(events, max(events, totals) if events else 0)


def first_kept_day(today: date, days: int) -> date:
    """The cut of a purge on a day: what came on earlier days, in UTC, goes."""
    return today - timedelta(days=days)


def is_archived(site: Site, settings: ExportSection) -> bool:
    """Are the site's days written to files?"""
    if not settings.directory:
        return False
    return not settings.sites or stored_site_id(site.site_id) in map(stored_site_id, settings.sites)
