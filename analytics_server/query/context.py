"""The context of a question: the site, the range, the store, the limits, beside its own SQL.

Shared by the JSON query and all analyses. Owns no state but what it was given; reads the
clock once per question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from analytics_server.access.sites.kept_days import kept_days_of
from analytics_server.config import LimitsSection, PrivacySection
from analytics_server.errors import NotFound, RequestError, StoreFatal
from analytics_server.model import Site, stored_site_id
from analytics_server.profiles.refusal import refuse_fields
from analytics_server.profiles.tables import STANDARD, profile_of
from analytics_server.query.answer import AnswerMeta, whole_number
from analytics_server.query.definitions import Definitions
from analytics_server.query.dimensions import Dimension
from analytics_server.query.language.conditions import Condition, all_matches, folded_weight, patterns
from analytics_server.query.language.regexps import MOST_WEIGHT, weight_of
from analytics_server.query.language.saved_filters import SiteLibrary
from analytics_server.query.language.time_range import RangeSpec, TimeRange, midnight, resolve_range
from analytics_server.query.metrics import Metric
from analytics_server.query.read_counts import SITE, SiteEventCounts
from analytics_server.query.sql.select import Query, print_line, print_sql
from analytics_server.saved.store import Saved
from analytics_server.store.error_codes import EngineCode
from analytics_server.store.protocol import ResultSet, Store
from analytics_server.zones import base_zone, find_zone

TOO_COMPLEX = frozenset({EngineCode.TOO_DEEP_AST, EngineCode.TOO_BIG_AST})

MAX_FOLDED_CHARS = 10_000
"""Of all values of a question that are compared without case: what they become is made on the loop."""

EXPIRED = "Events from before {} UTC are expired, as the site keeps none for longer: they count no more."
EXPIRED_BUT_TOTALS = (
    "Events from before {} UTC are expired. Of days before, only totals are kept: numbers by one dimension at most,"
    " without other filters, over whole days. All else counts from then on."
)

MAX_SQL_CHARS = 260_000
"""ClickHouse reads 256 KiB of a text by default. Values are bound, so that only very many filters make one so long."""

SETTINGS: Mapping[str, str | int] = {
    # A session's row never leaves its month: opened_at is in the key and makes the partition.
    "do_not_merge_across_partitions_select_final": 1,
    # Under FINAL a subcolumn (s.entry.path) is merged by itself and comes out wrong; the whole tuple is right.
    "optimize_functions_to_subcolumns": 0,
}


class SiteDirectory(Protocol):
    """Where sites are looked up."""

    def get(self, site_id: str) -> Site | None:
        """The site of that id in lower case, if there is one."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What ClickHouse spent."""

    elapsed_ms: float = 0.0
    rows_read: int = 0
    bytes_read: int = 0

    def plus(self, other: Cost | ResultSet) -> Cost:
        """Both together."""
        return Cost(
            self.elapsed_ms + other.elapsed_ms, self.rows_read + other.rows_read, self.bytes_read + other.bytes_read
        )


class QueryContext:
    """Where a question is prepared and its statements are run."""

    def __init__(
        self,
        store: Store,
        sites: SiteDirectory,
        clock: Callable[[], datetime],
        limits: LimitsSection,
        saved: Saved | None = None,
        *,
        unfinished: Callable[[], str] = str,
        kept_days: PrivacySection | None = None,
    ) -> None:
        """`unfinished`: what is still being worked out about all sites, or ""."""
        self.store = store
        self._unfinished = unfinished
        self._sites = sites
        self._clock = clock
        self.limits = limits
        self._kept_days = kept_days or PrivacySection()
        self.saved = saved
        self._definitions = Definitions(store, timeout_s=limits.query_timeout_s)
        self.own_events = SiteEventCounts(store, timeout_s=limits.query_timeout_s)

    def now(self) -> datetime:
        """The time, UTC."""
        return self._clock().astimezone(UTC)

    def site(self, site_id: str) -> Site:
        """The site of that id, in any spelling. Raises `NotFound`."""
        site = self._sites.get(stored_site_id(site_id))
        if site is None:
            raise NotFound(f"There is no site {site_id!r}.", code="unknown_site")
        return site

    def own_id(self, site_id: str) -> str:
        """The id by which the site is stored, whatever its spelling; the one spelling if there is no such site."""
        spelling = stored_site_id(site_id)
        site = self._sites.get(spelling)
        return spelling if site is None else site.site_id

    def has_site(self, site_id: str) -> bool:
        """Is there such a site?"""
        return self._sites.get(site_id) is not None

    def library(self, site_id: str) -> SiteLibrary:
        """The site's saved goals and segments."""
        return SiteLibrary(self.saved, self.own_id(site_id))

    async def range_of(self, site: Site, spec: RangeSpec) -> tuple[TimeRange, datetime]:
        """The instants a date range means for the site, and now. Raises `RequestError` (bad_date_range)."""
        await self._definitions.load()
        now = self.now()
        zone = zone_of(site)
        earliest = await self._earliest(site) if spec == "all" else None
        return resolve_range(spec, now=now, zone=zone, earliest=earliest), now

    def site_warnings(self, site: Site, *ranges: TimeRange) -> list[str]:
        """What an answer says of the site's time zone, of changed definitions within its ranges, of expiry, of work."""
        warnings = [*zone_warnings(site), *self._definitions.warnings(site.site_id, ranges)]
        unfinished = self._unfinished()
        return [*warnings, *self._expired(site, ranges), *([unfinished] if unfinished else [])]

    def _expired(self, site: Site, ranges: Iterable[TimeRange]) -> list[str]:
        kept = kept_days_of(site, self._kept_days)
        if not kept.events_days:
            return []
        cut = self.now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=kept.events_days)
        if all(range_.start >= cut for range_ in ranges):
            return []
        return [(EXPIRED_BUT_TOTALS if kept.totals_outlive else EXPIRED).format(cut.date().isoformat())]

    def check_profile(
        self,
        site: Site,
        conditions: Sequence[Condition] = (),
        dimensions: Iterable[Dimension | None] = (),
        metrics: Iterable[Metric] = (),
    ) -> None:
        """Refuse what the site's profile forbids to ask. Raises `RequestError` (forbidden_by_profile)."""
        if site.profile == STANDARD:
            return
        compared = [match.dimension.name for match in all_matches(conditions)]
        named = [dimension.name for dimension in dimensions if dimension is not None]
        refuse_fields(site.profile, [*named, *compared], [metric.name for metric in metrics])

    def forbids(self, site: Site, condition: Condition) -> bool:
        """Does it compare a dimension that the site's profile forbids?"""
        forbidden = profile_of(site.profile).forbidden_dimensions
        return any(match.dimension.name in forbidden for match in all_matches([condition]))

    async def check_patterns(self, conditions: Sequence[Condition]) -> None:
        """Let RE2 read the client's regular expressions before they meet any row. Raises `RequestError`."""
        if (chars := folded_weight(conditions)) > MAX_FOLDED_CHARS:
            raise RequestError(
                f"Filters that ignore case hold {chars:,} characters together, where s and f count for four, and"
                f" {MAX_FOLDED_CHARS:,} are allowed: name fewer or shorter values, or leave case_sensitive out.",
                code="bad_filter",
            )
        texts = patterns(conditions)
        if not texts:
            return
        if (weight := sum(map(weight_of, texts))) > MOST_WEIGHT:
            raise RequestError(
                f"The regular expressions stand for {weight:,} steps together, {MOST_WEIGHT:,} are allowed: repeat less"
                " in them, or use fewer.",
                code="bad_pattern",
            )
        names = {f"pattern_{index}": text for index, text in enumerate(texts)}
        probes = ", ".join(f"match('', {{{name}:String}})" for name in names)
        try:
            await self.query(f"SELECT {probes}", names)
        except StoreFatal as error:
            if error.engine_code != EngineCode.CANNOT_COMPILE_REGEXP:
                raise
            raise RequestError(
                "A regular expression can't be read. The syntax is RE2's, without lookaround and back-references:"
                " https://github.com/google/re2/wiki/Syntax.",
                code="bad_pattern",
            ) from error

    async def query(
        self, query: Query | str, parameters: Mapping[str, object], *, settings: Mapping[str, str | int] | None = None
    ) -> ResultSet:
        """Print and run one SELECT within the limits, in the turn of the site that its parameter `site` names.

        The rows and bytes read are those that may be told (`read_counts`). Raises `RequestError` (too_complex),
        `TooManyRequests` or a store error.
        """
        sql = query if isinstance(query, str) else print_sql(query)
        if len(sql) > MAX_SQL_CHARS and not isinstance(query, str):
            sql = print_line(query)  # without the indentation of deep nesting
        if len(sql) > MAX_SQL_CHARS:
            raise _too_complex()
        try:
            result = await self.store.query(
                sql,
                parameters,
                settings={**SETTINGS, **(settings or {})},
                timeout_s=self.limits.query_timeout_s,
                tenant=str(parameters.get(SITE, "")),
            )
        except StoreFatal as error:
            if error.engine_code not in TOO_COMPLEX:
                raise
            raise _too_complex() from error
        rows, size = await self.own_events.tell(result, parameters)
        return replace(result, rows_read=rows, bytes_read=size)

    async def _earliest(self, site: Site) -> datetime | None:
        result = await self.query(
            "SELECT count(), toUnixTimestamp(min(b.bucket)), (SELECT countIf(d.kept = 1) FROM day_builds AS d"
            " WHERE d.site_id = {site:String}), (SELECT minIf(d.day, d.kept = 1) FROM day_builds AS d"
            " WHERE d.site_id = {site:String}) FROM traffic AS b WHERE b.site_id = {site:String}",
            {"site": site.site_id},
        )
        count, seconds, kept_days, first_kept = result.rows[0]
        found = [datetime.fromtimestamp(whole_number(seconds), UTC)] if count else []
        if kept_days:
            found.append(midnight(first_kept, zone_of(site)))
        return min(found, default=None)


def _too_complex() -> RequestError:
    return RequestError(
        "The question has too many filters, those of its goals, segments and steps included: ask for fewer goals or"
        " metrics at a time, or for simpler ones. What has_done looks at counts most.",
        code="too_complex",
    )


def zone_of(site: Site) -> ZoneInfo:
    """The site's time zone, or what stands in for one that can't be used."""
    return find_zone(site.timezone) or base_zone(site.timezone)


def zone_warnings(site: Site) -> list[str]:
    """What an answer says of a stored time zone that can't be used; nothing for any other."""
    if not site.stored_timezone:
        return []
    return [
        f"The site's time zone {site.stored_timezone!r} is not known to ClickHouse and browsers: {site.timezone} stands"
        " in for it. Set an IANA name such as Europe/Stockholm."
    ]


def meta_of(
    table: str, range_: TimeRange, cost: Cost, warnings: list[str], *, total_rows: int | UnsetType = UNSET
) -> AnswerMeta:
    """What an analysis' answer rests on: nothing approximate, and no comparison."""
    return AnswerMeta(
        table=table,
        time_zone=range_.zone.key,
        date_range=show_range(range_),
        elapsed_ms=round(cost.elapsed_ms, 1),
        rows_read=cost.rows_read,
        bytes_read=cost.bytes_read,
        approximate=[],
        warnings=warnings,
        total_rows=total_rows,
    )


def show_range(range_: TimeRange) -> tuple[str, str]:
    """Both edges in the site's time, with their offset."""
    return range_.start.astimezone(range_.zone).isoformat(), range_.end.astimezone(range_.zone).isoformat()
