"""The report as a readable page and as a zip. The page stands alone: no script, no style or image from elsewhere."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from html import escape

import msgspec

from analytics_server.privacy.report.bundle import PrivacyReport
from analytics_server.privacy.report.history import PastAction
from analytics_server.privacy.report.recipients import ReportedLink

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2024}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}"
    "th,td{border:1px solid #d0d4da;padding:.3rem .5rem;text-align:left;vertical-align:top}"
    "pre{white-space:pre-wrap;background:#f4f5f7;padding:1rem;border-radius:6px;font:inherit}"
    "code{font-family:ui-monospace,monospace;overflow-wrap:anywhere}.no{color:#8a9099}"
)
_EARLIEST_ZIP = (1980, 1, 1, 0, 0, 0)
"""Of all files in the archive, so that the same report makes the same bytes."""


def report_json(report: PrivacyReport) -> bytes:
    """The report as JSON, indented."""
    return msgspec.json.format(msgspec.json.encode(report, order="sorted"), indent=2) + b"\n"


def report_page(report: PrivacyReport) -> str:
    """The report as HTML."""
    content = report.report
    site, profile = content.site, content.profile
    left_out = [(kind.about, ", ".join(kind.columns)) for kind in profile.left_out]
    switches = [
        ("events of a script", _yes(profile.script)),
        ("cohorts", _yes(profile.cohorts)),
        ("sharing by link", _yes(profile.sharing)),
        ("bytes taken from addresses before hashing", str(profile.shortened_bytes)),
        ("most days that events may be kept", str(profile.most_retention_days or "no limit")),
    ]
    parts = [
        f"<h1>Privacy report of {escape(site.site_id)}</h1>",
        f"<p>Made {escape(content.made_at)} by {escape(content.program)}. SHA-256 of its content:"
        f" <code>{report.sha256}</code></p>",
        "<h2>Findings</h2>",
        _list(content.findings) if content.findings else "<p>Settings and profile do not contradict each other.</p>",
        f"<h2>Profile {escape(profile.name or site.profile)}</h2><p>{escape(profile.about)}</p>",
        _table(("switch", "value"), switches),
        _table(("left out", "columns"), left_out) if left_out else "<p>Nothing is left out.</p>",
        f"<h3>What the operator has to do</h3>{_list(profile.duties)}" if profile.duties else "",
        f"<h3>Sources</h3>{_list(profile.sources)}" if profile.sources else "",
        "<h2>What is stored, why and how long</h2>",
        _table(("class", "meaning"), content.data_classes.items()),
    ]
    for table in content.stored:
        parts += [
            f"<h3><code>{escape(table.name)}</code></h3><p>{escape(table.purpose)} Kept: {escape(table.kept)}."
            f"{' Of the whole server, not of this site.' if table.of_server else ''}</p>",
            _table(
                ("field", "what it is", "class", "stored"),
                ((field.name, field.about, field.data_class, _yes(field.stored)) for field in table.fields),
            ),
        ]
    salts = content.salts
    parts += [
        "<h2>Files beside the tables</h2>",
        _table(
            ("files", "what they hold", "class", "kept", "of the whole server"),
            ((file.path, file.holds, file.data_class, file.kept, _yes(file.of_server)) for file in content.files),
        ),
        "<h2>Visitors' hashes</h2>",
        f"<p>Visitor ids: {escape(salts.visitor_ids)}. Salts: {escape(salts.made)}, {salts.random_bytes} random bytes,"
        f" destroyed after {salts.destroyed_after_hours} hours at most.</p>",
        "<h2>Sub-processors</h2>",
        _list(content.sub_processors) if content.sub_processors else "<p>None that the settings name.</p>",
        "<h2>Who sees the numbers without a sign-in</h2>",
        _list(content.readers) if content.readers else "<p>Nobody.</p>",
        _links(content.share_links) if content.share_links else "",
        "<h2>Last expiries</h2>" + _history(content.last_expiries),
        "<h2>Last erasures</h2>" + _history(content.last_erasures),
        "<h2>Settings</h2>",
        _table(("setting", "value"), ((name, _value(value)) for name, value in content.settings.items())),
        "<h2>Settings of the site</h2>",
        _table(("setting", "value"), ((n, _value(v)) for n, v in msgspec.to_builtins(site).items())),
        f"<h2>Text for a privacy notice (draft)</h2><pre>{escape(content.privacy_notice)}</pre>",
        f"<h2>Text for the record of processing (draft)</h2><pre>{escape(content.processing_record)}</pre>",
        "<p>Engineering facts for your lawyer, not legal advice.</p>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>Privacy report of {escape(site.site_id)}</title><style>{_STYLE}</style></head><body>"
        f"{''.join(parts)}</body></html>\n"
    )


def report_zip(report: PrivacyReport) -> bytes:
    """The report as JSON and as a page, and its texts, in one archive."""
    files = {
        "report.json": report_json(report),
        "report.html": report_page(report).encode(),
        "privacy-notice.txt": report.report.privacy_notice.encode() + b"\n",
        "record-of-processing.txt": report.report.processing_record.encode() + b"\n",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EARLIEST_ZIP), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _value(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _list(texts: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"


def _links(links: Sequence[ReportedLink]) -> str:
    rows = (
        (
            link.link_id,
            _yes(link.has_password),
            str(link.threshold or "none"),
            link.expires_at.isoformat(timespec="seconds") if link.expires_at else "none",
            _yes(link.is_filtered),
            ", ".join(link.embed_hosts),
        )
        for link in links
    )
    return _table(("share link", "password", "threshold", "end", "filters", "pages that may frame it"), rows)


def _history(actions: Sequence[PastAction]) -> str:
    if not actions:
        return "<p>None is known.</p>"
    return _table(("when", "what", "rows"), ((each.at, each.action, str(each.rows)) for each in actions))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"
