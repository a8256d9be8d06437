"""Settings of a site: the fields, their limits, and how a change is applied to a site.

The API and the command line share it. Every value is checked and spelt here; the time zone and the id are checked
where the site is stored (`access/sites/sites.py`), because that knows which zones ClickHouse has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from analytics_server.access.sites.exclusions import (
    BAD_EXCLUSION,
    check_size,
    excluded_countries,
    excluded_hosts,
    excluded_paths,
    excluded_props,
)
from analytics_server.access.sites.sharing import with_public_ended
from analytics_server.access.sites.sites import SITE_CHARS
from analytics_server.errors import RequestError
from analytics_server.model import Site
from analytics_server.profiles.tables import PROFILES
from analytics_server.spelling.host_names import allowed_host

ZONE_CHARS = 64
HOST_CHARS = 253
CURRENCY_CHARS = 3
MOST_EVENTS_PER_S = 1_000_000
MAX_LISTED = 1_000
"""So many hosts a site may allow, and so many sites a token may cover."""

BAD_SETTINGS = ("bad_allowed_hosts", "bad_currency", BAD_EXCLUSION, "bad_profile", "forbidden_by_profile")
"""Codes of values that are refused here."""

_SITE_CHAR = r"[^\x00-\x20!-,/;-@\[-^`{-\x7f]"
"""Letters and digits of all scripts, `.`, `-`, `_` and `:`."""

SiteId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=SITE_CHARS,
        extra_json_schema={"pattern": rf"^[ \t\r\n]*{_SITE_CHAR}+[ \t\r\n]*$"},
    ),
]
Zone = Annotated[str, Meta(max_length=ZONE_CHARS, description="IANA name, such as Europe/Stockholm.")]
Hosts = Annotated[
    tuple[Annotated[str, Meta(max_length=HOST_CHARS)], ...],
    Meta(
        max_length=MAX_LISTED,
        description="Events from pages on other hosts are dropped. Empty: any host. `*.example.com` stands for all "
        "subdomains; `www.` and ports make no difference. An address is understood as its host.",
    ),
]
Apps = Annotated[
    bool,
    Meta(description="Count pages of apps and extensions too, which have no http address: capacitor://, file://, …"),
]
IsPublic = Annotated[
    bool, Meta(description="Anyone may see the site's numbers, as by a share link, at `/share/` and its id.")
]
Currency = Annotated[
    str, Meta(description='Code of the currency that is shown first, such as EUR; "" for that with most revenue.')
]
Rate = Annotated[
    int,
    Meta(
        ge=0,
        le=MOST_EVENTS_PER_S,
        description="Events a second that the site may send; more are refused with 429. 0: the server's limit alone.",
    ),
]
ProfileName = Annotated[
    str,
    Meta(
        description="The legal basis: what may be collected and asked (`GET /api/v1/profiles`). Effective at once.",
        extra_json_schema={"enum": list(PROFILES)},
    ),
]
ExcludedPaths = Annotated[
    tuple[str, ...],
    Meta(
        description="Events on these paths are dropped. `*` stands for anything but a slash, `**` for anything. A "
        "query is looked at where the rule has one."
    ),
]
ExcludedHosts = Annotated[
    tuple[str, ...],
    Meta(description="Events from pages on these hosts are dropped. `*` stands for anything: `*--shop.example.net`."),
]
ExcludedCountries = Annotated[
    tuple[str, ...], Meta(description="Events from these countries are dropped: codes such as DE, or names.")
]
ExcludedProps = Annotated[
    tuple[str, ...], Meta(description="Events with such a property are dropped: `key=value`, the value as text.")
]


EventsDays = Annotated[
    int,
    Meta(
        ge=0,
        le=36_500,
        description="Days for which events are kept; 0: as `[privacy] retention_days` says. A profile may set a limit.",
    ),
]


TotalsDays = Annotated[
    int,
    Meta(
        ge=0,
        le=36_500,
        description="Days for which totals of days are kept; 0: as `[privacy] rollup_retention_days` says. Less than"
        " events are kept counts as that. A profile may set a limit.",
    ),
]


class SiteSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a site that are to change; None stays as it is."""

    timezone: Zone | None = None
    allowed_hosts: Hosts | None = None
    allow_apps: Apps | None = None
    currency: Currency | None = None
    events_per_s: Rate | None = None
    profile: ProfileName | None = None
    public: IsPublic | None = None
    retention_days: EventsDays | None = None
    rollup_retention_days: TotalsDays | None = None
    excluded_paths: ExcludedPaths | None = None
    excluded_hosts: ExcludedHosts | None = None
    excluded_countries: ExcludedCountries | None = None
    excluded_props: ExcludedProps | None = None

    def applied_to(self, site: Site) -> Site:
        """The site with these settings, as they are stored. Raises `RequestError`."""
        given: dict[str, object] = {
            name: value for name in SiteSettings.__struct_fields__ if (value := getattr(self, name)) is not None
        }
        for name, spelt in _SPELT.items():
            rules: tuple[str, ...] | None = getattr(self, name)
            if rules is not None:
                given[name] = spelt(rules)
        if self.profile is not None:
            given["profile"] = _profile(self.profile)
        if self.currency is not None:
            given["currency"] = _currency(self.currency)
        changed = with_public_ended(site, msgspec.structs.replace(site, **given), is_wanted=self.public is True)
        if not given.keys().isdisjoint(_EXCLUDED):
            check_size(changed)
        return changed


def _hosts(entries: tuple[str, ...]) -> tuple[str, ...]:
    """The hosts that the entries mean, each once. Raises `RequestError`."""
    hosts: dict[str, None] = {}
    for index, entry in enumerate(entries):
        try:
            hosts[allowed_host(entry)] = None
        except ValueError as error:
            raise RequestError(
                f"allowed_hosts[{index}] is {entry[:80]!r}: {error}.", code="bad_allowed_hosts"
            ) from error
    return tuple(hosts)


def _profile(name: str) -> str:
    """A profile that there is. Raises `RequestError`."""
    if name not in PROFILES:
        raise RequestError(
            f"There is no profile {name[:40]!r}: choose one of {', '.join(PROFILES)}.", code="bad_profile"
        )
    return name


def _currency(text: str) -> str:
    """An ISO 4217 code in capitals, or nothing. Raises `RequestError`."""
    code = text.strip().upper()
    if code and not (len(code) == CURRENCY_CHARS and code.isascii() and code.isalpha()):
        raise RequestError(
            f"currency is {text[:20]!r}: write a code of three letters, such as EUR (ISO 4217).", code="bad_currency"
        )
    return code


_SPELT: dict[str, Callable[[tuple[str, ...]], tuple[str, ...]]] = {
    "allowed_hosts": _hosts,
    "excluded_paths": excluded_paths,
    "excluded_hosts": excluded_hosts,
    "excluded_countries": excluded_countries,
    "excluded_props": excluded_props,
}
"""The settings that are lists, and what checks and spells them."""
_EXCLUDED = tuple(name for name in _SPELT if name.startswith("excluded_"))
