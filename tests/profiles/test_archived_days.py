"""Days as files, of sites with each profile: what it forbids is in none, although it is stored."""

from __future__ import annotations

from functools import partial

import msgspec
import pyarrow.parquet as parquet  # type: ignore[import-untyped]

from analytics_server.archive.manifest import site_directory
from analytics_server.model import COLUMN_NAMES
from analytics_server.profiles.tables import PROFILES
from tests.archive.conftest import archiving
from tests.archive.directory import ZONES, Archiving, made
from tests.profiles.sites import NAMES

__all__ = ["archiving"]


async def test_what_a_profile_forbids_is_in_no_file_of_days(archiving: Archiving) -> None:
    await archiving.place.insert(made(31, 60, users=("person-1",)))
    profiles = dict(zip(ZONES, NAMES, strict=True))
    for site, profile in profiles.items():
        await archiving.sites.change(site, partial(msgspec.structs.replace, profile=profile))

    assert await archiving.archive.run()

    for site, profile in profiles.items():
        files = list(site_directory(archiving.root, site).glob("*/events.parquet"))
        allowed = [name for name in COLUMN_NAMES if name not in PROFILES[profile].hidden_columns]
        assert files
        for file in files:
            assert parquet.read_schema(file).names == allowed
            people = {str(row.get("user_id")) for row in parquet.read_table(file).to_pylist()}
            assert people == {"person-1" if PROFILES[profile].by_user else "None"}
