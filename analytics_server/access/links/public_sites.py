"""Public sites: what a share link without a secret, filters, password and end would give, while the site is public.

The page of one is `/share/` and the site's id. Who opens it gets a token as of a link; the site's id stands in it,
encoded, as live sockets take few characters in tokens. There is nothing to be guessed in it, so that its key is none.
"""

from __future__ import annotations

import base64
import binascii

from analytics_server.access.stored_link import SECRET_PREFIX, ShareLink

PUBLIC_ID = "public"
PUBLIC_PREFIX = f"{SECRET_PREFIX}{PUBLIC_ID}-"


def public_link(site_id: str) -> ShareLink:
    """The link of a public site. It is stored nowhere."""
    return ShareLink(id=PUBLIC_ID, name=PUBLIC_ID, site_id=site_id, hash_key="", hash="")


def public_secret(site_id: str) -> str:
    """What stands for the secret in a token."""
    return PUBLIC_PREFIX + base64.urlsafe_b64encode(site_id.encode()).decode().rstrip("=")


def site_asked(secret: str) -> str:
    """The site that a page's address or a token's secret names, "" where it is of a link."""
    if not secret.startswith(SECRET_PREFIX):
        return secret
    if not secret.startswith(PUBLIC_PREFIX):
        return ""
    text = secret.removeprefix(PUBLIC_PREFIX)
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, ValueError):
        return ""
