"""The report as a value: its hash, its findings, and what its texts say of a profile."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from analytics_server.config import (
    ClickhouseSection,
    CollectSection,
    Config,
    ExportSection,
    GeoSection,
    PrivacySection,
    SitesSection,
)
from analytics_server.model import Site
from analytics_server.privacy.report.bundle import PrivacyReport, content_hash, make_report
from analytics_server.privacy.report.history import PastAction
from analytics_server.privacy.report.page import report_json, report_page, report_zip
from analytics_server.profiles.tables import PROFILES
from analytics_server.settings.sections import MailSection, OidcSection

PLACES = Config(geo=GeoSection(database="/places.mmdb"))
NOW = datetime(2026, 11, 29, 12, 30, tzinfo=UTC)


async def made(config: Config | None = None, **site: Any) -> PrivacyReport:
    return await make_report(config or Config(), Site(site_id="a.example", **site), (), NoHistory(), NOW)


@pytest.mark.parametrize("profile", PROFILES)
async def test_the_hash_is_that_of_the_content_and_any_program_can_check_it(profile: str) -> None:
    report = await made(profile=profile)

    read = json.loads(report_json(report))
    text = json.dumps(read["report"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == read["sha256"] == report.sha256
    other = msgspec.structs.replace(report.report, program="another")
    assert content_hash(other) != report.sha256


@pytest.mark.parametrize("profile", PROFILES)
async def test_what_the_profile_leaves_out_is_said_not_to_be_stored(profile: str) -> None:
    content = (await made(PLACES, profile=profile)).report

    for table in content.stored:
        if table.name in ("events", "sessions"):
            absent = {field.name for field in table.fields if not field.stored}
            assert absent == PROFILES[profile].hidden_columns & {field.name for field in table.fields}
    assert content.sub_processors == []
    assert content.salts.destroyed_after_hours == 48
    assert content.made_at == "2026-11-29T12:30:00+00:00"


async def test_the_texts_follow_the_profile() -> None:
    standard, french, server = [
        (await made(PLACES, profile=name)).report for name in ("standard", "fr-exempt", "server-only")
    ]

    assert "country, region and city" in standard.privacy_notice
    assert "user ids" in standard.processing_record
    assert "country and region" in french.privacy_notice
    assert "without its last 2 bytes" in french.privacy_notice
    assert "campaign" not in french.privacy_notice
    assert "user id" not in french.privacy_notice + french.processing_record
    assert "Nothing is read from your device" in server.privacy_notice
    assert "the size of the screen" not in server.privacy_notice
    for report in (standard, french, server):
        assert "anonym" not in report.privacy_notice + report.processing_record


async def test_services_on_other_machines_are_named_without_credentials() -> None:
    config = Config(
        clickhouse=ClickhouseSection(url="https://planted:planted@db.example:8443/a"),
        mail=MailSection(host="mail.example", user="planted", password="planted", sender="a@a.example"),
        oidc=OidcSection(issuer="https://id.example/realms/a"),
    )
    report = (await made(config)).report

    assert [line.partition(":")[0] for line in report.sub_processors] == [
        "ClickHouse at db.example",
        "Mail server at mail.example",
        "Sign-in provider at id.example",
    ]
    for line in report.sub_processors:
        assert line in report.privacy_notice
        assert line in report.processing_record
    assert b"planted" not in msgspec.json.encode(report)


@pytest.mark.parametrize(
    "url", ["chdb:///var/lib/a", "", "http://127.0.0.1:8123", "http://[::1]:8123/a", "http://localhost"]
)
async def test_services_on_this_machine_are_no_sub_processors(url: str) -> None:
    config = Config(
        clickhouse=ClickhouseSection(url=url),
        mail=MailSection(host="localhost", tls="none", sender="a@a.example"),
        oidc=OidcSection(issuer="http://127.0.0.2:9000"),
    )
    report = (await made(config)).report

    assert report.sub_processors == []
    assert "None that the settings name" in report.processing_record


@pytest.mark.parametrize(
    ("config", "site", "words"),
    [
        (Config(privacy=PrivacySection(retention_days=758)), {"profile": "fr-exempt"}, "757 days at most"),
        (Config(), {"profile": "fr-exempt", "retention_days": 758}, "757 days at most"),
        (Config(collect=CollectSection(respect_gpc=False)), {}, "Global Privacy Control is not respected"),
        (Config(collect=CollectSection(mask_emails=False)), {}, "E-mail addresses"),
        (Config(), {"profile": "server-only"}, "First events create sites with the profile standard"),
    ],
)
async def test_contradictions_are_found(config: Config, site: dict[str, Any], words: str) -> None:
    assert words in " ".join((await made(config, **site)).report.findings)


@pytest.mark.parametrize("sites", [(), ("b.example", "A.EXAMPLE")])
async def test_files_of_days_outlive_the_expiry(sites: tuple[str, ...]) -> None:
    export = ExportSection(directory="/lake", sites=sites)
    for config, days, is_told in (
        (Config(export=export), 30, True),
        (Config(export=export), 0, False),
        (Config(export=ExportSection(directory="/lake", sites=("b.example",))), 30, False),
        (Config(), 30, False),
    ):
        findings = (await made(config, retention_days=days)).report.findings
        assert any("[export] directory" in finding for finding in findings) == is_told


async def test_a_site_that_keeps_to_its_profile_has_no_findings() -> None:
    config = Config(sites=SitesSection(default_profile="fr-exempt"))

    assert (await made(config, profile="fr-exempt", retention_days=757)).report.findings == []
    assert (await made(config, profile="fr-exempt")).report.findings == []
    assert (await made()).report.findings == []


async def test_own_addresses_are_no_part_of_the_report() -> None:
    report = await made(Config(collect=CollectSection(exclude_addresses=("192.0.2.0/24",))))

    assert b"192.0.2" not in report_json(report) + report_page(report).encode()


async def test_the_page_escapes_what_it_shows_and_loads_nothing() -> None:
    page = report_page(await made(excluded_props=("plan=<script>alert(1)</script>",)))

    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "src=" not in page
    assert "href=" not in page


async def test_the_same_report_makes_the_same_archive() -> None:
    assert report_zip(await made()) == report_zip(await made())


class NoHistory:
    """Nothing was removed."""

    async def expiries(self, site_id: str) -> list[PastAction]:
        return []

    async def erasures(self, site_id: str) -> list[PastAction]:
        return []


async def test_what_was_removed_is_told() -> None:
    class History(NoHistory):
        async def erasures(self, site_id: str) -> list[PastAction]:
            return [PastAction(at="2026-11-01T00:00:00Z", action="erasure", rows=12)]

    report = await make_report(Config(), Site(site_id="a.example"), (), History(), NOW)

    assert report.report.last_erasures[0].rows == 12
    assert report.report.last_expiries == []
    assert "2026-11-01T00:00:00Z" in report_page(report)
