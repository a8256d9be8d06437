"""Security headers: what every answer of the dashboard, the pages and the API carries, and the policies of pages.

Constraint: no policy allows inline scripts or styles, or anything of another origin. Beacons, the pixel and the tracker
script don't carry these: they are meant to be loaded by other origins (`collect/routes.py` says theirs).
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

NOTHING_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""For an answer that is no page: should a browser show it as one, nothing of it is run, loaded or framed."""

SECURITY_HEADERS = {
    "Content-Security-Policy": NOTHING_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
HSTS = {"Strict-Transport-Security": "max-age=31536000"}
"""Where this server itself speaks TLS: a browser asks by https only, for a year."""


def page_headers(policy: Mapping[str, str]) -> dict[str, str]:
    """The headers of a page: `policy` says what it needs (`{"script-src": "'self'"}`), everything else is forbidden."""
    directives = {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        **policy,
    }
    told = "; ".join(f"{name} {value}" for name, value in directives.items())
    return {**SECURITY_HEADERS, "Content-Security-Policy": told}


def secure_page(response: web.StreamResponse) -> None:
    """Add to an HTML answer or a redirect, of any handler, the security headers that it does not set itself."""
    if response.prepared:  # its head is sent already
        return
    headers = response.headers
    if 300 <= response.status < 400 or headers.get("Content-Type", "").startswith("text/html"):
        may_be_framed = "frame-ancestors 'none'" not in headers.get("Content-Security-Policy", NOTHING_POLICY)
        for name, value in SECURITY_HEADERS.items():
            if name != "X-Frame-Options" or not may_be_framed:
                headers.setdefault(name, value)
