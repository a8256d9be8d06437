"""The report of one site, as a value: effective settings, profile, fields, salts, history, texts, and its hash.

Pure but for the history, which is asked through an interface: expiry and erasure belong to other parts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from analytics_server import __version__
from analytics_server.access.sites.kept_days import is_archived, kept_days_of
from analytics_server.access.sites.profile_routes import ShownProfile, shown_profile
from analytics_server.access.stored_link import ShareLink
from analytics_server.config import Config
from analytics_server.model import Site
from analytics_server.privacy.report.fields import TABLES
from analytics_server.privacy.report.files import EMBEDDED, EXPORTED, FILES
from analytics_server.privacy.report.history import PastAction, PrivacyHistory
from analytics_server.privacy.report.recipients import (
    ReportedLink,
    is_public,
    readers,
    reported_links,
    sub_processors,
)
from analytics_server.privacy.report.stored import DataClass, KeptFor, StoredFile
from analytics_server.privacy.report.texts import DNT, GPC, Practice, privacy_notice, processing_record
from analytics_server.privacy.salts import KEPT_S, SALT_BYTES
from analytics_server.profiles.tables import PROFILES, profile_of
from analytics_server.store import capabilities_of

HOUR_S = 3_600
UNLIMITED = "until it is erased: no expiry is set for the site"
HELD = "until the site's profile is known again: nothing of it expires meanwhile"


class ReportedField(msgspec.Struct, frozen=True, kw_only=True):
    """A column. `stored`: do profile and settings let it be stored? `data_class`: how near it is to a person."""

    name: str
    about: str
    data_class: str
    stored: bool


class ReportedTable(msgspec.Struct, frozen=True, kw_only=True):
    """A table: why it is there, how long its rows are kept, what it holds.

    `of_server`: its rows are of the whole server, not of this site; no field of them follows the site's profile.
    """

    name: str
    purpose: str
    kept: str
    of_server: bool
    fields: list[ReportedField]


class ReportedFile(msgspec.Struct, frozen=True, kw_only=True):
    """Files beside the tables. `path`: a pattern, in the data directory where nothing else is said."""

    path: str
    holds: str
    data_class: str
    kept: str
    of_server: bool


class SaltsLife(msgspec.Struct, frozen=True, kw_only=True):
    """How long visitors' hashes can be made again."""

    made: str
    random_bytes: int
    destroyed_after_hours: int
    visitor_ids: str


class ReportContent(msgspec.Struct, frozen=True, kw_only=True):
    """All that the report says.

    `sub_processors`: services that the settings name; `readers`: to whom the numbers are shown without a sign-in;
    `share_links`: those that can be opened. `findings`: where settings contradict the profile or what visitors expect.
    """

    site: Site
    made_at: str
    program: str
    profile: ShownProfile
    settings: dict[str, object]
    data_classes: dict[str, str]
    stored: list[ReportedTable]
    files: list[ReportedFile]
    salts: SaltsLife
    sub_processors: list[str]
    readers: list[str]
    share_links: list[ReportedLink]
    last_expiries: list[PastAction]
    last_erasures: list[PastAction]
    findings: list[str]
    privacy_notice: str
    processing_record: str


class PrivacyReport(msgspec.Struct, frozen=True, kw_only=True):
    """`sha256`: of the member `report` as JSON in UTF-8 with sorted keys and no white space between."""

    report: ReportContent
    sha256: str


async def make_report(
    config: Config, site: Site, links: Sequence[ShareLink], history: PrivacyHistory, now: datetime
) -> PrivacyReport:
    """The report of a site. `links`: its share links that can be opened. Raises a store error."""
    kept: dict[str, str] = {
        KeptFor.EVENTS: kept_events(config, site),
        KeptFor.TOTALS: _kept_totals(config, site),
        KeptFor.AUDIT: _kept_audit(config),
    }
    profile, shared = profile_of(site.profile), reported_links(links)
    practice = practice_of(config, site, shared)
    absent = _absent_columns(practice)
    content = ReportContent(
        site=site,
        made_at=now.astimezone(UTC).isoformat(timespec="seconds"),
        program=f"analytics-server {__version__}",
        profile=shown_profile(profile),
        settings=effective_settings(config),
        data_classes={each.value: each.about for each in DataClass},
        stored=[
            ReportedTable(
                name=table.name,
                purpose=table.purpose,
                kept=kept.get(table.kept, table.kept),
                of_server=table.of_server,
                fields=[
                    ReportedField(
                        name=name,
                        about=about,
                        data_class=class_.value,
                        stored=table.of_server or name not in absent,
                    )
                    for name, (class_, about) in table.columns.items()
                ],
            )
            for table in TABLES
        ],
        files=[
            ReportedFile(
                path=file.path,
                holds=file.holds,
                data_class=file.data_class.value,
                kept=kept.get(file.kept, file.kept),
                of_server=file.of_server,
            )
            for file in _files_of(config, practice)
        ],
        salts=SaltsLife(
            made="one for each UTC day, shared by all servers of the installation",
            random_bytes=SALT_BYTES,
            destroyed_after_hours=KEPT_S // HOUR_S,
            visitor_ids="a keyed hash for each day and site" if practice.hashes else "none are kept",
        ),
        sub_processors=list(practice.services),
        readers=list(practice.readers),
        share_links=shared,
        last_expiries=list(await history.expiries(site.site_id)),
        last_erasures=list(await history.erasures(site.site_id)),
        findings=findings(config, site, shared),
        privacy_notice=privacy_notice(practice),
        processing_record=processing_record(practice),
    )
    return PrivacyReport(report=content, sha256=content_hash(content))


def practice_of(config: Config, site: Site, links: Sequence[ReportedLink]) -> Practice:
    """What the texts tell, by the settings in effect."""
    outlive = kept_days_of(site, config.privacy).totals_outlive
    return Practice(
        site=site,
        profile=profile_of(site.profile),
        kept_events=kept_events(config, site),
        kept_totals=_kept_totals(config, site) if outlive else "",
        services=tuple(sub_processors(config)),
        readers=tuple(readers(site, links)),
        archived=is_archived(site, config.export),
        respects_dnt=config.collect.respect_dnt,
        respects_gpc=config.collect.respect_gpc,
        hashes=config.privacy.visitor == "daily",
        places=bool(config.geo.database),
        audit_days=config.privacy.audit_retention_days,
    )


def _files_of(config: Config, practice: Practice) -> list[StoredFile]:
    """The files that this server has, or may come to have."""
    is_embedded = capabilities_of(config).owns_files
    return [
        file
        for file in FILES
        if (is_embedded or not file.path.startswith(EMBEDDED))
        and (practice.archived or not file.path.startswith(EXPORTED))
    ]


def _absent_columns(practice: Practice) -> frozenset[str]:
    """Columns in which nothing of the site is stored now."""
    absent = practice.profile.hidden_columns
    if not practice.hashes:
        absent |= {"visitor_id", "visitor_ids"}
    return absent if practice.places else absent | {"country", "region", "city"}


def content_hash(content: ReportContent) -> str:
    """SHA-256 of the report's canonical bytes, in hexadecimal digits."""
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


def kept_events(config: Config, site: Site) -> str:
    """How long the site's events are kept, in words."""
    return _shown_days(site, kept_days_of(site, config.privacy).events_days)


def _kept_totals(config: Config, site: Site) -> str:
    return _shown_days(site, kept_days_of(site, config.privacy).totals_days)


def _kept_audit(config: Config) -> str:
    days = config.privacy.audit_retention_days
    return f"{days} days; the chain of another server until that one cuts it, or is retired" if days else "always"


def _shown_days(site: Site, days: int) -> str:
    if site.profile not in PROFILES:
        return HELD
    return f"{days} days" if days else UNLIMITED


def effective_settings(config: Config) -> dict[str, object]:
    """The settings that decide what is collected, without any that names people: of own addresses the number."""
    collect = config.collect
    return {
        "collect.query_keys": list(collect.query_keys),
        "collect.mask_emails": collect.mask_emails,
        "collect.drop_bots": collect.drop_bots,
        "collect.respect_dnt": collect.respect_dnt,
        "collect.respect_gpc": collect.respect_gpc,
        "collect.exclude_addresses": len(collect.exclude_addresses),
        "collect.session_timeout_s": collect.session_timeout_s,
        "collect.client_session_timeout_s": collect.client_session_timeout_s,
        "geo.database": bool(config.geo.database),
        "privacy.visitor": config.privacy.visitor,
        "privacy.retention_days": config.privacy.retention_days,
        "privacy.rollup_retention_days": config.privacy.rollup_retention_days,
        "privacy.audit_retention_days": config.privacy.audit_retention_days,
        "export.directory": bool(config.export.directory),
        "export.sites": len(config.export.sites),
        "mcp.enabled": config.mcp.enabled,
        "sites.create_unknown": config.sites.create_unknown,
        "sites.default_profile": config.sites.default_profile,
        "tracker.script_path": config.tracker.script_path,
        "tracker.collect_path": config.tracker.collect_path,
    }


def findings(config: Config, site: Site, links: Sequence[ReportedLink] = ()) -> list[str]:
    """Where a setting contradicts the profile or the objection of visitors, or shows numbers to others, in words."""
    profile, found = profile_of(site.profile), []
    if site.profile not in PROFILES:
        found.append(
            f"The profile {site.profile} is not known here: all that any profile leaves out is left out, and nothing of"
            " the site expires. Give the site a profile."
        )
    most = profile.most_retention_days if site.profile in PROFILES else 0
    asked = site.retention_days or config.privacy.retention_days
    if most and asked > most:
        found.append(
            f"The profile {site.profile} allows events to be kept for {most} days at most, so they go after that, not"
            f" after {asked} days: set retention_days to {most} or less."
        )
    kept = kept_days_of(site, config.privacy).events_days if site.profile in PROFILES else 0
    if kept and is_archived(site, config.export):
        found.append(
            f"Events are kept for {kept} days, but the files of days that the server writes ([export] directory) stay"
            " until they are deleted by hand: delete those that are older."
        )
    for signal, key, is_respected in (
        (DNT, "respect_dnt", config.collect.respect_dnt),
        (GPC, "respect_gpc", config.collect.respect_gpc),
    ):
        if not is_respected:
            found.append(
                f"{signal} is not respected ([collect] {key}): visitors who object by it are counted, but for events of"
                " the program's own script, which sends none then."
            )
    if not config.collect.mask_emails:
        found.append("E-mail addresses in pages' addresses are stored ([collect] mask_emails = false).")
    if profile.left_out and config.sites.create_unknown and config.sites.default_profile != site.profile:
        found.append(
            "First events create sites with the profile"
            f" {config.sites.default_profile} ([sites] create_unknown, default_profile): a misspelt site name in a tag"
            f" would not be under {site.profile}."
        )
    if is_public(site):
        found.append(
            "The site is public: anyone sees its numbers without a sign-in. Tell visitors, or end it (public)."
        )
    if links:
        found.append(f"The numbers are shown to {readers(msgspec.structs.replace(site, public=False), links)[0]}.")
    return found
