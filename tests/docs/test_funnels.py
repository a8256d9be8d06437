"""docs/funnels.md names every key, code and limit of funnels, and its examples can be decoded."""

from __future__ import annotations

import re

from analytics_server.analyses.funnels import answer, definition
from analytics_server.analyses.funnels.materialized.definitions import MAX_SAVED
from analytics_server.analyses.funnels.saved_funnels import SavedFunnelAnswer
from analytics_server.http.endpoint import Endpoint
from analytics_server.query.language.request import decode_request
from analytics_server.query.language.window import MOST_S
from tests.docs.pages import ROOT
from tests.whole import complete_server

PAGE = (ROOT / "docs" / "funnels.md").read_text(encoding="utf-8")
ELSEWHERE = "".join(
    (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("api.md", "query-api.md", "saved.md")
)

OPERATIONS = [one for one in complete_server().endpoints() if one.path.startswith("/api/v1/funnels")]


def test_names_every_key() -> None:
    kinds = (
        definition.FunnelRequest,
        definition.DrillRequest,
        definition.Drill,
        definition.ExclusionSpec,
        answer.StepAnswer,
    )
    for kind in (*kinds, answer.DrilledSession, answer.FunnelMeta, answer.DrillAnswer):
        for key in kind.__struct_fields__:
            assert re.search(rf'[`".]{key}[`"]', PAGE), f"docs/funnels.md leaves out {key} of {kind.__name__}"
    for key in ("status", "progress", "reason"):
        assert key in SavedFunnelAnswer.__struct_fields__
        assert f"`{key}`" in PAGE


def test_names_every_address_and_error() -> None:
    def codes(operation: Endpoint) -> set[str]:
        return {code for found in operation.all_errors().values() for code in found}

    for operation in OPERATIONS:
        assert operation.path in PAGE
        for code in codes(operation):
            assert f"`{code}`" in PAGE + ELSEWHERE, f"no page documents {code}"


def test_names_the_limits() -> None:
    for text in (
        f"{definition.MIN_STEPS} to {definition.MAX_STEPS} steps",
        f"Up to {definition.MAX_EXCLUSIONS} kinds of events",
        f"{definition.MAX_CONDITIONS} comparisons and {definition.MAX_HAS_DONE} times `has_done`",
        f"1 to {definition.MAX_VALUES}, {definition.DEFAULT_VALUES} if left out",
        f"`limit` is 1 to {definition.MAX_LISTED:,}, {definition.DEFAULT_LISTED} if left out",
        f"`{definition.DEFAULT_WINDOW}` if left out",
        f"from 1 second to {MOST_S // 86_400} days",
        f"A site may have {MAX_SAVED} saved funnels",
    ):
        assert text in PAGE, text


def test_examples_can_be_decoded() -> None:
    sent = [text for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL) if '"site_id"' in text.split("\n")[0]]
    assert len(sent) == 2
    decode_request(sent[0].encode(), definition.FunnelRequest)
    decode_request(sent[1].encode(), definition.DrillRequest)
