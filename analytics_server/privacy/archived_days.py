"""What a person's rights ask of events that the server has written to files for others to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Protocol


class ArchivedDays(Protocol):
    """Files of the days of sites."""

    def time_zone(self, site_id: str) -> str | None:
        """The zone by whose days a site is archived; None where it is not, or is gone."""

    async def rewrite(self, erased: Mapping[tuple[str, date], int]) -> None:
        """Write the files of days again from which so many events of a person were erased.

        Raises an `AnalyticsError` where that has to be tried again.
        """

    async def unsearched(self, covers: Callable[[str], bool]) -> list[str]:
        """Files of these sites that may hold events which the server has no more, so that it can't tell whose they are.

        Raises an `AnalyticsError`.
        """


class NothingArchived:
    """Where no files are written."""

    def time_zone(self, site_id: str) -> str | None:
        """See `ArchivedDays`."""
        return None

    async def rewrite(self, erased: Mapping[tuple[str, date], int]) -> None:
        """See `ArchivedDays`."""

    async def unsearched(self, covers: Callable[[str], bool]) -> list[str]:
        """See `ArchivedDays`."""
        return []
