"""Every code that the code can reject with has a sentence and a remedy."""

from __future__ import annotations

import re
from pathlib import Path

import analytics_server
from analytics_server.collect.rejections import OF_REQUESTS, RejectionCode

COLLECT = Path(analytics_server.__file__).parent / "collect"
LITERAL = re.compile(r'(?:Reject\(\s*|Rejection\(\s*\w+,\s*|MisreadEvent\(\s*\w+,\s*)"([a-z_]+)"')


def test_every_code_of_an_event_is_listed() -> None:
    sources = [path.read_text(encoding="utf-8") for path in COLLECT.rglob("*.py")]
    codes = {code for source in sources for code in LITERAL.findall(source)}
    assert {"bad_url", "forbidden_site", "unknown_site", "missing_kind", "bad_event"} <= codes
    assert codes <= set(RejectionCode)


def test_codes_of_misread_fields_are_listed() -> None:
    ours = {f"{fault}_{field}" for fault in ("missing", "bad") for field in ("site", "name", "url", "timestamp")}
    theirs = {f"{fault}_{field}" for fault in ("missing", "bad") for field in ("app_name", "page_url", "type")}
    assert (ours | theirs) - {"missing_timestamp"} <= set(RejectionCode)


def test_each_says_what_it_is_and_what_to_do() -> None:
    assert all(code.about.endswith(".") and code.remedy for code in RejectionCode)
    assert set(RejectionCode) >= OF_REQUESTS


def test_a_field_of_the_client_library_is_told_of_as_its_own_is() -> None:
    for theirs, ours in (("bad_page_url", "bad_url"), ("bad_app_name", "bad_site")):
        about, remedy = RejectionCode(ours).about, RejectionCode(ours).remedy
        assert RejectionCode(theirs).about.endswith(
            about.partition(" is not " if " is not " in about else " can be ")[2]
        )
        assert RejectionCode(theirs).remedy.partition(". ")[2] == remedy.partition(". ")[2]
