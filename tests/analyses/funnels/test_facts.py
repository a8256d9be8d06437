"""What is stored of a saved funnel is found again by later versions."""

from __future__ import annotations

import msgspec
import pytest

from analytics_server.analyses.funnels.definition import FunnelBody, check_funnel
from analytics_server.analyses.funnels.materialized.facts import Facts, make_facts
from analytics_server.query.language.saved_filters import SiteLibrary

VIEW = (
    "SELECT e.site_id AS site_id, e.ts AS ts, cityHash64(e.session_start, e.session_id) AS subject, "
    r"toUInt8(multiIf((e.name IN ['a\x27b']), 1, (e.name IN ['b']), 2, (e.name IN ['c']), 3, 0)) AS number, "
    "max(e.user_id) AS user_id FROM events AS e "
    r"WHERE e.site_id = 's' AND ((e.name IN ['a\x27b']) OR (e.name IN ['b']) OR (e.name IN ['c']))"
)
GROUPS = "GROUP BY site_id, ts, subject, number"
A, B, C = {"name": "a"}, {"name": "b"}, {"name": "c"}
OVERLAPPING = {"name": "a", "filters": [["contains", "event:page", ["it's", "b\\"]]]}
WITHOUT_CASE = {"name": "a", "filters": [["contains", "event:page", ["it's", "b\\"], {"case_sensitive": False}]]}
WITHOUT = {"name": "a", "filters": [["contains_not", "event:props:plan", ["pro"]]]}
STAR = {"name": "a", "filters": [["matches_wildcard", "event:title", ["a*b"]]]}
WILDCARD = {"name": "pageview", "filters": [["matches_wildcard", "event:page", ["/blog/**"]]]}
PATTERN = {"name": "pageview", "filters": [["matches", "event:page", ["^/thanks$"]]]}
EITHER = ["or", [["is", "event:props:plan", ["pro"]], ["not", ["is", "visit:country", ["SE", "DE"]]]]]
NAMES: dict[str, dict[str, object]] = {
    "463f4557aef5be19": {"steps": [A, B], "by": "user", "order": "strict", "window": "7d"},
    "3e2d233af1ef29bd": {"steps": [A, B, C], "order": "any", "exclude": [{"name": "d", "after": 1, "before": 2}]},
    "5f1ef27493bb8071": {"steps": [WILDCARD, PATTERN]},
    "96cf82c59bd16587": {"steps": [A, B], "filters": [EITHER, ["is_not", "visit:device", ["Mobile"]]]},
}
"""Funnels by the hash in the name of their tables, as version 0.1.0 made them."""


MEANING_OTHERWISE: dict[str, dict[str, object]] = {
    "8c958c2916905242": {"steps": [A, WITHOUT_CASE]},
    "9b6431fe543c9ba5": {"steps": [A, WITHOUT]},
    "eb4732bfbff01294": {"steps": [A, STAR]},
    "070b4b0cac5a28af": {"steps": [A, B], "by": "visitor"},
    "c0c48d4ff4d6892c": {"steps": [A, OVERLAPPING]},
}
"""The same of funnels whose filters mean something else since."""


def facts() -> Facts:
    steps = [{"name": "a'b"}, {"name": "b"}, {"name": "c"}]
    body = msgspec.convert({"steps": steps, "window": "1d", "order": "ordered", "by": "session"}, FunnelBody)
    return make_facts("f1", "s", check_funnel(body, SiteLibrary(None, "s")))


def test_the_name_of_a_funnels_table_never_changes() -> None:
    """Another name would make the tables of every saved funnel anew after an upgrade."""
    assert facts().table == "funnel_f1_bbc3d39c44011338"
    assert facts().create_view().endswith(f" TO funnel_f1_bbc3d39c44011338 AS {VIEW} {GROUPS}")


@pytest.mark.parametrize("definition", NAMES)
def test_a_table_of_any_kind_of_funnel_keeps_its_name(definition: str) -> None:
    body = msgspec.convert(NAMES[definition], FunnelBody)
    assert make_facts("f1", "s", check_funnel(body, SiteLibrary(None, "s"))).definition == definition


@pytest.mark.parametrize("definition", MEANING_OTHERWISE)
def test_a_funnel_that_means_something_else_gets_a_table_of_its_own(definition: str) -> None:
    """The facts that are kept follow the old meaning, so they must not be read for the new one."""
    body = msgspec.convert(MEANING_OTHERWISE[definition], FunnelBody)
    assert make_facts("f1", "s", check_funnel(body, SiteLibrary(None, "s"))).definition != definition


def test_a_fill_reads_what_the_view_reads_between_two_moments() -> None:
    between = "AND e.ts >= {start:DateTime64(6, 'UTC')} AND e.ts < {until:DateTime64(6, 'UTC')}"
    assert facts().fill().endswith(f" {VIEW} {between} {GROUPS}")
