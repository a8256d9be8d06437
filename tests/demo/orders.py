"""Small orders for the tests of made-up traffic."""

from __future__ import annotations

from datetime import date

import msgspec

from analytics_server.demo.traffic import TrafficOrder

SMALL = TrafficOrder(site="demo", days=28, sessions=1_500, seed=1, end=date(2026, 3, 31), timezone="Europe/Stockholm")
"""Holds the night when Sweden's clocks go forward."""


def order(**changes: object) -> TrafficOrder:
    """`SMALL`, with changes."""
    return msgspec.structs.replace(SMALL, **changes)
