"""The profiles that there are: one table each. A new country is a new entry.

Engineering facts for the operator's lawyer, not advice (docs/privacy.md has them with their sources).
"""

from __future__ import annotations

from analytics_server.profiles.switches import CollectedKind, SiteProfile

STANDARD = "standard"
UNKNOWN = "unknown"
"""Stands for the profile of a site whose settings can't be read: no table has this name, so the strictest holds."""
MONTHS_25_DAYS = 757
"""No 25 months have fewer than 758 days; the daily purge removes whole days that are older than so many days."""

_TABLES = (
    SiteProfile(
        name=STANDARD,
        about="Sessions in memory, a daily salted hash, all dimensions; places down to the city.",
        default_retention_days=MONTHS_25_DAYS,
    ),
    SiteProfile(
        name="fr-exempt",
        about="For the French exemption of audience measurement from consent.",
        left_out=frozenset(
            {CollectedKind.USER, CollectedKind.SOURCE, CollectedKind.CAMPAIGN, CollectedKind.CITY},
        ),
        cohorts=False,
        shortened_bytes=2,
        most_retention_days=MONTHS_25_DAYS,
        default_retention_days=MONTHS_25_DAYS,
        duties=(
            "Use the numbers for measuring the audience of this site only, and combine them with nothing else.",
            "Tell visitors of the measurement in the privacy notice.",
            "Give visitors a way to object.",
            "Keep the self-assessment, with what GET /api/v1/profiles says.",
        ),
        sources=("CNIL, self-assessment for audience measurement tools, 2025", "French Data Protection Act, Art. 82"),
    ),
    SiteProfile(
        name="uk-statistics",
        about="For the British exception for statistics about how a service is used.",
        left_out=frozenset({CollectedKind.USER}),
        sharing=False,
        default_retention_days=MONTHS_25_DAYS,
        duties=(
            "Use the numbers to improve the service only.",
            "Tell visitors clearly and fully what is measured and why.",
            "Give visitors a simple and free way to object.",
            "Share the data only with those who help to improve the service.",
        ),
        sources=("PECR, Schedule A1, in force since 5 February 2026",),
    ),
    SiteProfile(
        name="server-only",
        about="Nothing is read from the visitor's device: events of servers and the pixel only.",
        left_out=frozenset({CollectedKind.SCREEN, CollectedKind.SCROLL, CollectedKind.ENGAGEMENT}),
        script=False,
        default_retention_days=MONTHS_25_DAYS,
        duties=("Leave the script out of the pages: its events are refused.",),
        sources=(
            "EDPB, Guidelines 2/2023 on Art. 5(3) of the ePrivacy Directive",
            "DSK, guidance for providers of digital services, 2024 (§ 25 TDDDG)",
        ),
    ),
)

PROFILES: dict[str, SiteProfile] = {profile.name: profile for profile in _TABLES}

STRICTEST = SiteProfile(
    name=UNKNOWN,
    about="Stands for one that is not known: all that any profile forbids is forbidden, but the script is taken.",
    left_out=frozenset(kind for profile in _TABLES for kind in profile.left_out),
    cohorts=False,
    sharing=False,
    shortened_bytes=max(profile.shortened_bytes for profile in _TABLES),
    most_retention_days=MONTHS_25_DAYS,
    default_retention_days=MONTHS_25_DAYS,
)


def profile_of(name: str) -> SiteProfile:
    """The profile of that name; for one that this version doesn't know the strictest of all."""
    return PROFILES.get(name, STRICTEST)
