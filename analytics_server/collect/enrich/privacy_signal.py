"""Opt-out signals of the browser: Do Not Track and Global Privacy Control.

Only the value "1" is a request (W3C: Tracking Preference Expression; Global Privacy
Control); anything else, "0" included, is none.
"""

from __future__ import annotations

from analytics_server.collect.drops import DropReason


def privacy_signal(
    dnt_header: str | None, gpc_header: str | None, *, respect_dnt: bool, respect_gpc: bool
) -> DropReason | None:
    """The reason to drop the beacon, or None. `gpc_header` is `Sec-GPC`; it goes first, being law in places."""
    if respect_gpc and gpc_header is not None and gpc_header.strip() == "1":
        return DropReason.GPC
    if respect_dnt and dnt_header is not None and dnt_header.strip() == "1":
        return DropReason.DNT
    return None
