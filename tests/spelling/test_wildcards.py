"""Wildcards: one star stops at slashes, two do not, and all patterns take one walk over the text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.spelling.wildcards import Wildcards

PATTERNS = st.text("ab/*", max_size=8)
TEXTS = st.text("ab/", max_size=10)


def by_regexp(pattern: str, *, slashes: bool) -> re.Pattern[str]:
    one = "[^/]*" if slashes else ".*"
    parts = re.findall(r"\*+|[^*]", pattern)
    return re.compile("".join(one if part == "*" else ".*" if "*" in part else re.escape(part) for part in parts))


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("/admin", "/admin", True),
        ("/admin", "/admin/", False),
        ("/admin/*", "/admin/users", True),
        ("/admin/*", "/admin/users/1", False),
        ("/admin/**", "/admin/users/1", True),
        ("/*/edit", "/post/edit", True),
        ("/*/edit", "/blog/post/edit", False),
        ("/**/edit", "/blog/post/edit", True),
        ("*.php", "a.php", True),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_a_pattern_fits_the_whole_text(pattern: str, text: str, fits: bool) -> None:
    assert (Wildcards([pattern]).find(text) == 0) is fits


@given(st.lists(PATTERNS, max_size=5), TEXTS, st.booleans())
def test_the_first_pattern_that_fits_is_found_as_a_regular_expression_finds_it(
    patterns: list[str], text: str, slashes: bool
) -> None:
    found = [index for index, pattern in enumerate(patterns) if by_regexp(pattern, slashes=slashes).fullmatch(text)]

    assert Wildcards(patterns, slashes=slashes).find(text) == (found[0] if found else -1)
