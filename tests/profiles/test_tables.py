"""The tables of switches against the columns and registries that they name."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date, timedelta
from typing import get_args, get_type_hints

import pytest

from analytics_server.access.sites.kept_days import first_kept_day
from analytics_server.config import SitesSection
from analytics_server.errors import RequestError
from analytics_server.model import COLUMN_NAMES, Site
from analytics_server.profiles.refusal import FORBIDDEN, refuse_cohorts, refuse_fields, refuse_users
from analytics_server.profiles.switches import FIELDS, CollectedKind
from analytics_server.profiles.tables import PROFILES, STANDARD, STRICTEST, profile_of
from analytics_server.query.dimensions import DIMENSIONS
from analytics_server.query.metrics import METRICS
from analytics_server.sql.printer.tables import TABLES

_READ = re.compile(r"\b[es]\.(\w+)")
NAMES = list(PROFILES)


def test_every_kind_names_columns_dimensions_and_metrics_that_there_are() -> None:
    assert set(FIELDS) == set(CollectedKind)
    for fields in FIELDS.values():
        assert set(fields.columns) <= set(COLUMN_NAMES)
        assert set(fields.dimensions) <= {dimension.name for dimension in DIMENSIONS}
        assert set(fields.metrics) <= {metric.name for metric in METRICS}


@pytest.mark.parametrize("name", NAMES)
def test_a_dimension_or_metric_that_reads_a_hidden_column_is_forbidden(name: str) -> None:
    profile = PROFILES[name]

    for dimension in DIMENSIONS:
        text = f"{dimension.events} {dimension.sessions} {dimension.present} {dimension.number}"
        hidden = profile.hidden_columns & set(_READ.findall(text))
        assert bool(hidden) == (dimension.name in profile.forbidden_dimensions), dimension.name
    for metric in METRICS:
        text = " ".join((metric.events, metric.sessions, metric.merged.replace("m_", "")))
        assert not profile.hidden_columns & set(_READ.findall(text)) or metric.name in profile.forbidden_metrics


@pytest.mark.parametrize("name", NAMES)
def test_a_hidden_column_of_sql_reads_as_the_empty_value_of_its_type(name: str) -> None:
    hidden = PROFILES[name].hidden_columns

    for table in TABLES.values():
        text = table.scoped("db", None, {"one.example": hidden})
        for column in table.columns:
            assert (f"{column.expression} AS `{column.name}`" in text) == (column.name not in hidden)
            if column.name in hidden:
                assert f"{column.absent} AS `{column.name}`" in text


@pytest.mark.parametrize("name", NAMES)
def test_exactly_what_is_forbidden_is_refused_and_the_message_names_the_profile(name: str) -> None:
    profile = PROFILES[name]

    for dimensions, metrics in [*(([d.name], []) for d in DIMENSIONS), *(([], [m.name]) for m in METRICS)]:
        if set(dimensions) <= profile.forbidden_dimensions and set(metrics) <= profile.forbidden_metrics:
            with pytest.raises(RequestError, match=f"'{name}'") as caught:
                refuse_fields(name, dimensions, metrics)
            assert caught.value.code == FORBIDDEN
        else:
            refuse_fields(name, dimensions, metrics)


def test_the_profiles_forbid_what_they_say() -> None:
    standard, french, british, server = (PROFILES[name] for name in NAMES)

    assert not standard.restricts
    assert french.hidden_columns == {
        *("user_id", "referrer", "source", "channel", "city"),
        *("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term"),
    }
    assert (french.cohorts, french.shortened_bytes, french.most_retention_days) == (False, 2, 757)
    assert british.hidden_columns == {"user_id"}
    assert not british.sharing
    assert server.hidden_columns == {"screen", "scroll_depth", "engagement_ms"}
    assert not server.script
    with pytest.raises(RequestError, match="fr-exempt"):
        refuse_cohorts("fr-exempt")
    with pytest.raises(RequestError, match="uk-statistics"):
        refuse_users("uk-statistics")


def test_nothing_is_kept_for_longer_than_25_months_whatever_day_it_came() -> None:
    """The purge of the day by which an event is 25 months old removes it, and a day more would be too much."""
    days = PROFILES["fr-exempt"].most_retention_days
    starts = [date(2024, 1, 1) + timedelta(days=number) for number in range(8 * 366)]

    assert all(first_kept_day(after_25_months(start), days) > start for start in starts)
    assert any(first_kept_day(after_25_months(start), days + 1) <= start for start in starts)
    assert first_kept_day(date(2027, 3, 1), days) == date(2025, 2, 2)
    for profile in (*PROFILES.values(), STRICTEST):
        assert profile.most_retention_days in (0, days)
        assert profile.default_retention_days == days


def after_25_months(start: date) -> date:
    """The same day of the month 25 months later, or the month's last one."""
    month = start.year * 12 + start.month - 1 + 25
    year, month = month // 12, month % 12 + 1
    return date(year, month, min(start.day, monthrange(year, month)[1]))


def test_a_profile_of_a_later_version_forbids_all_that_any_forbids() -> None:
    unknown = profile_of("xx-later")

    assert all(profile.hidden_columns <= unknown.hidden_columns for profile in PROFILES.values())
    assert not unknown.cohorts
    assert unknown.script


def test_settings_know_the_profiles_that_there_are() -> None:
    assert get_args(get_type_hints(SitesSection)["default_profile"]) == tuple(PROFILES)
    assert Site(site_id="a.example").profile == SitesSection().default_profile == STANDARD
