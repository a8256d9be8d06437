"""Drop reasons are stable, documented keys."""

from __future__ import annotations

import json
import re

from analytics_server.collect.drops import DropReason


def test_values_are_the_published_ones() -> None:
    assert {str(reason) for reason in DropReason} == {
        "bot",
        "dnt",
        "duplicate",
        "excluded",
        "gpc",
        "hostname",
        "no_session",
        "opted_out",
        "prefetch",
        "spam_referrer",
    }


def test_each_reason_is_one_sentence_and_snake_case() -> None:
    for reason in DropReason:
        assert re.fullmatch(r"[a-z][a-z_]*", reason)
        assert re.fullmatch(r"[A-Z][^.]*\.", reason.about)


def test_a_reason_is_its_value_as_a_json_key() -> None:
    assert json.dumps({DropReason.BOT: 1}) == '{"bot": 1}'
    assert DropReason("gpc") is DropReason.GPC
