"""`analytics-server privacy-report`: the evidence bundle of a site."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from analytics_server.access.links.share_links import ShareLinks
from analytics_server.access.sites.sharing import shared_from_ms
from analytics_server.access.sites.sites import Sites, valid_site_id
from analytics_server.cli.audit import open_store, record
from analytics_server.cli.context import config_option, json_format, no_site, read_config, with_store
from analytics_server.privacy.report.bundle import make_report
from analytics_server.privacy.report.history import AuditHistory
from analytics_server.privacy.report.page import report_json, report_page, report_zip
from analytics_server.store import Store


@click.command("privacy-report")
@config_option
@click.argument("site_id")
@click.option("--format", "format_", type=click.Choice(["json", "html", "zip"]), default="json", show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A file; default: standard output.")
@json_format
def privacy_report(config_path: str | None, site_id: str, format_: str, output: Path | None) -> None:
    """Say what a site stores, why and how long, for the files of the data-protection officer.

    Its SHA-256 is recorded in the audit log, so that it can be shown later what
    was true on the day.
    """
    config = read_config(config_path)

    async def work(store: Store) -> None:
        await open_store(store, config)
        sites = Sites(store, config.sites)
        links = ShareLinks(store, shared_from_ms=lambda site_id: shared_from_ms(sites.get(site_id)))
        await sites.load()
        await links.load()
        site = sites.get(valid_site_id(site_id))
        if site is None:
            raise no_site(site_id)
        shared = links.open_of_site(site.site_id)
        made = await make_report(config, site, shared, AuditHistory(store), datetime.now(UTC))
        await record(
            store,
            config,
            "view_privacy_report",
            "privacy-report",
            site_id=site.site_id,
            details={"sha256": made.sha256},
        )
        if format_ == "zip":
            data = report_zip(made)
        else:
            data = report_page(made).encode() if format_ == "html" else report_json(made)
        with click.open_file(str(output) if output else "-", "wb") as file:
            file.write(data)

    with_store(config, work, route="GET /api/v1/privacy/report")
