"""The texts of the report follow the settings in effect: no sentence is said of a site on which it is not true."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from analytics_server.access.stored_link import ShareLink
from analytics_server.config import (
    ClickhouseSection,
    CollectSection,
    Config,
    ExportSection,
    GeoSection,
    PrivacySection,
)
from analytics_server.model import Site
from analytics_server.privacy.report.bundle import ReportContent, make_report
from analytics_server.privacy.report.page import report_page
from analytics_server.profiles.tables import PROFILES
from tests.privacy.report.test_bundle import NOW, NoHistory

LINKS = (
    ShareLink(id="l1", site_id="a.example", name="For Anna", hash_key="k", hash="h", password_hash="p", threshold=5),
    ShareLink(id="l2", site_id="a.example", hash_key="k", hash="h", expires_at=NOW + timedelta(days=1)),
    ShareLink(id="l3", site_id="a.example", hash_key="k", hash="h", embed_hosts=("b.example",)),
)


async def content(config: Config | None = None, links: tuple[ShareLink, ...] = (), **site: Any) -> ReportContent:
    report = await make_report(config or Config(), Site(site_id="a.example", **site), links, NoHistory(), NOW)
    assert report_page(report)
    return report.report


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("dnt", "gpc"), [*product((True, False), repeat=2)])
@pytest.mark.parametrize("visitor", ["daily", "off"])
async def test_the_notice_promises_only_what_the_settings_keep(
    profile: str, dnt: bool, gpc: bool, visitor: Any
) -> None:
    config = Config(collect=CollectSection(respect_dnt=dnt, respect_gpc=gpc), privacy=PrivacySection(visitor=visitor))
    told = await content(config, profile=profile)
    notice = told.privacy_notice
    objection = next(part for part in notice.split("\n\n") if part.startswith("You can object"))
    ways = objection.partition(".")[0]

    for name, is_respected in (("Do Not Track", dnt), ("Global Privacy Control", gpc)):
        assert (name in ways) == is_respected
        assert any(finding.startswith(f"{name} is not respected") for finding in told.findings) != is_respected
    assert ("and you are not counted" in notice) == (dnt or gpc)
    assert ("not respected" in objection) == (not (dnt and gpc))
    assert ("data-opt-out" in notice) == PROFILES[profile].script
    assert ("own script, which sends nothing" in objection) == (PROFILES[profile].script and not (dnt and gpc))
    assert ("[address for objections]" in objection) is True
    is_told_apart = visitor == "daily"
    assert ("random-looking number" in notice) == ("48 hours" in notice) == is_told_apart
    assert ("visitor hashes" in told.processing_record) == ("Salts" in told.processing_record) == is_told_apart
    assert ("hashes keyed" in told.processing_record) == is_told_apart
    stored = {field.name: field.stored for field in told.stored[0].fields}
    assert stored["visitor_id"] == is_told_apart


async def test_who_is_shown_the_numbers_is_named() -> None:
    nobody = await content()
    public = await content(public=True)
    linked = await content(links=LINKS)
    both = await content(links=LINKS[2:], public=True)

    assert (nobody.readers, nobody.share_links, nobody.findings) == ([], [], [])
    assert "shown to nobody else but [people" in nobody.privacy_notice
    assert public.readers == ["anyone, as the site is public (its numbers are shown at /share/a.example)"]
    kinds = (
        "1 with a password and 2 without; 1 with a threshold, below which no row is shown, and 2 without; 1 with an end"
        " and 2 without"
    )
    assert linked.readers == [f"whoever has one of 3 share links to them ({kinds})"]
    assert [len(report.readers) for report in (public, linked, both)] == [1, 1, 2]
    for report in (public, linked, both):
        assert len(report.findings) == len(report.readers)
        for reader in report.readers:
            assert reader in report.privacy_notice
            assert reader in report.processing_record
        assert "nobody else" not in report.privacy_notice
        assert "those who are shown the numbers" in report.processing_record
        assert "None outside" not in report.processing_record
    assert "anyone sees" in public.findings[0]
    assert kinds in linked.findings[0]


async def test_links_are_listed_without_their_names() -> None:
    report = await make_report(Config(), Site(site_id="a.example"), LINKS, NoHistory(), NOW)
    shown = report.report.share_links

    assert [(link.link_id, link.has_password, link.threshold) for link in shown] == [
        ("l1", True, 5),
        ("l2", False, None),
        ("l3", False, None),
    ]
    assert [link.expires_at for link in shown] == [None, datetime(2026, 11, 30, 12, 30, tzinfo=UTC), None]
    page = report_page(report)
    assert "2026-11-30T12:30:00+00:00" in page
    assert "b.example" in page
    assert "Anna" not in page


async def test_a_site_whose_profile_forbids_sharing_is_not_called_public() -> None:
    assert (await content(profile="uk-statistics", public=True)).readers == []


async def test_places_are_named_where_there_is_a_file_of_them() -> None:
    without, with_places = await content(), await content(Config(geo=GeoSection(database="/places.mmdb")))

    assert "country" not in without.privacy_notice
    assert "place" not in without.processing_record
    assert "country, region and city that the network address" in with_places.privacy_notice
    assert "browser and place" in with_places.processing_record
    for told, is_stored in ((without, False), (with_places, True)):
        assert {f.stored for f in told.stored[0].fields if f.name in ("country", "region", "city")} == {is_stored}


async def test_what_is_kept_for_longer_than_events_is_told() -> None:
    plain = await content(retention_days=90)
    longer = await content(
        Config(export=ExportSection(directory="/lake"), privacy=PrivacySection(audit_retention_days=0)),
        retention_days=90,
        rollup_retention_days=900,
    )

    assert "kept for 90 days" in plain.privacy_notice
    assert "900" not in plain.privacy_notice + plain.processing_record
    assert "iles" not in plain.privacy_notice + plain.processing_record
    assert "Audit log: 400 days" in plain.processing_record
    assert "Counts of each day, which identify nobody, are kept for 900 days" in longer.privacy_notice
    assert "Counts of each day: 900 days" in longer.processing_record
    assert "Files with the single events of each day" in longer.privacy_notice
    assert "Files of days" in longer.processing_record
    assert "Audit log: always" in longer.processing_record


async def test_a_browsers_name_is_not_said_to_be_forgotten_while_it_is_stored() -> None:
    notice = (await content()).privacy_notice

    assert "browser, operating system and kind of device" in notice
    assert "neither address nor identification is stored" in notice
    assert "browser name" not in notice


async def test_the_servers_of_a_cluster_are_named() -> None:
    config = Config(clickhouse=ClickhouseSection(url="http://127.0.0.1:8123", cluster="stats"))

    assert (await content(config)).sub_processors == [
        "The servers of the ClickHouse cluster stats: they hold all that is stored"
    ]


async def test_a_site_whose_profile_is_not_known_is_not_said_to_expire() -> None:
    told = await content(profile="xx-later", retention_days=900)

    assert "until the site's profile is known again" in told.privacy_notice
    assert "until the site's profile is known again" in told.processing_record
    assert "days" not in told.stored[0].kept
    assert [finding for finding in told.findings if "not known here" in finding]
    assert not [finding for finding in told.findings if "at most" in finding]
