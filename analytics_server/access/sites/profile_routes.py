"""Profiles over HTTP: `GET /api/v1/profiles`, and what a change of profile does to what is stored."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from analytics_server.access.actions import LIST_SITES
from analytics_server.http.declaration import Reply
from analytics_server.http.endpoint import Call, Endpoint
from analytics_server.model import Site
from analytics_server.profiles.switches import FIELDS, SiteProfile
from analytics_server.profiles.tables import PROFILES, STRICTEST, profile_of


class LeftOutKind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of data that a profile leaves out: what it is, and where it would stand."""

    kind: str
    about: str
    columns: tuple[str, ...]
    dimensions: tuple[str, ...]
    metrics: tuple[str, ...]


class ShownProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A profile's switches.

    `left_out`: neither stored nor answered. `script`: are events of the browser's script taken? `cohorts`: may people
    be followed over days? `sharing`: may numbers be shown to others by a link? `shortened_bytes`: so many bytes of an
    address are set to zero before it is hashed. `most_retention_days`: events go after that; 0 is no limit.
    `default_retention_days` is what is usual, and nothing enforces it.
    """

    name: str
    about: str
    left_out: list[LeftOutKind]
    script: bool
    cohorts: bool
    sharing: bool
    shortened_bytes: int
    most_retention_days: int
    default_retention_days: int
    duties: tuple[str, ...]
    sources: tuple[str, ...]


class ProfilesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """All profiles that a site may be given. `unknown`: what holds for a site whose `profile` is none of these."""

    profiles: list[ShownProfile]
    unknown: ShownProfile


class ChangedSite(Site, frozen=True, kw_only=True):
    """A site after a change. Where its profile is another now: what that does to what is stored.

    `hidden_columns`: columns whose stored values are not answered any more. `profile_note`: what becomes of them.
    """

    hidden_columns: tuple[str, ...] | UnsetType = UNSET
    profile_note: str | UnsetType = UNSET


def changed_site(before: Site, now: Site) -> ChangedSite:
    """The site as it is told after a change."""
    fields = msgspec.structs.asdict(now)
    if before.profile == now.profile:
        return ChangedSite(**fields)
    hidden = tuple(sorted(profile_of(now.profile).hidden_columns))
    return ChangedSite(**fields, hidden_columns=hidden, profile_note=note_of(now.profile))


def note_of(profile: str) -> str:
    """What a new profile does to what is stored, and to who may see it."""
    table = profile_of(profile)
    hidden = sorted(table.hidden_columns)
    said = [
        f"From now on {', '.join(hidden)} are neither stored nor answered. What was stored there before is hidden at"
        " once, and stays stored until it expires or is erased; under a profile that allows it, it shows again."
        if hidden
        else f"The profile {profile} leaves out no column: what is stored is answered, from now on and from before."
    ]
    if table.most_retention_days:
        said.append(
            f"What is older than {table.most_retention_days} days is removed by the next expiry, once a day, and does"
            " not come back."
        )
    if not table.sharing:
        said.append(
            "The site is not public any more and its share links have ended; no other profile opens them again."
        )
    return " ".join(said)


def shown_profile(profile: SiteProfile) -> ShownProfile:
    """The switches as they are told."""
    left_out = [
        LeftOutKind(
            kind=kind.value,
            about=FIELDS[kind].about,
            columns=FIELDS[kind].columns,
            dimensions=FIELDS[kind].dimensions,
            metrics=FIELDS[kind].metrics,
        )
        for kind in sorted(profile.left_out)
    ]
    return ShownProfile(
        name=profile.name,
        about=profile.about,
        left_out=left_out,
        script=profile.script,
        cohorts=profile.cohorts,
        sharing=profile.sharing,
        shortened_bytes=profile.shortened_bytes,
        most_retention_days=profile.most_retention_days,
        default_retention_days=profile.default_retention_days,
        duties=profile.duties,
        sources=profile.sources,
    )


def endpoints() -> list[Endpoint]:
    """The list of profiles."""

    async def list_profiles(call: Call[None]) -> ProfilesAnswer:
        return ProfilesAnswer(
            profiles=[shown_profile(profile) for profile in PROFILES.values()], unknown=shown_profile(STRICTEST)
        )

    return [
        Endpoint(
            method="GET",
            path="/api/v1/profiles",
            name="list_profiles",
            summary="The profiles that a site may have, with their switches",
            tag="access",
            action=LIST_SITES,
            handle=list_profiles,
            replies=(Reply(about="One table of switches each.", type=ProfilesAnswer),),
        )
    ]
