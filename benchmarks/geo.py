"""The country database of the benchmarks: the one `make geo` fetched, else a made-up one.

Without any the server would skip a step that users have. The made-up one has a network
for every block of 2^20 addresses.
"""

from __future__ import annotations

import random
from pathlib import Path

from mmdb_writer import MMDBWriter
from netaddr import IPSet

from benchmarks.process import ROOT

FETCHED = ROOT / ".build" / "geo" / "country.mmdb"
COUNTRIES = ("US", "DE", "GB", "FR", "SE", "NL", "ES", "IT", "PL", "BR", "IN", "JP", "CA", "AU", "MX", "ZA")


def database(directory: Path) -> Path:
    """The file to use; made in `directory` if need be."""
    if FETCHED.exists():
        return FETCHED
    path = directory / "country.mmdb"
    if not path.exists():
        draw = random.Random(1)
        writer = MMDBWriter(ip_version=4, database_type="Benchmark-Country")
        networks: dict[str, list[str]] = {}
        for first in range(1, 224):
            for second in range(0, 256, 16):
                networks.setdefault(draw.choice(COUNTRIES), []).append(f"{first}.{second}.0.0/12")
        for country, blocks in networks.items():
            writer.insert_network(IPSet(blocks), {"country": {"iso_code": country}})
        writer.to_db_file(str(path))
    return path
