"""How many tokens a SQL text has, counted in a millisecond: reading one properly costs a hundred times that.

A text is refused by its length and its tokens before anything else is done with it, so that texts which are refused
anyway cost next to nothing, however fast they are sent. An estimate: quotes and comments are known, nothing else.
"""

from __future__ import annotations

import re

from analytics_server.sql.refusal import SqlRefused, place_of

_TOKEN = re.compile(
    r"""'(?:[^'\\]++|\\.)*+(?:'|\\?\Z)      # texts; one that is not closed reaches to the end, so that no
    |"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)         # part is looked at twice
    |`[^`]*+(?:`|\Z)
    |--[^\n]*+
    |/\*(?:[^*]++|\*(?!/))*+(?:\*/|\Z)
    |\w++
    |[^\w\s]""",
    re.DOTALL | re.VERBOSE,
)


def check_size(text: str, *, max_chars: int, max_tokens: int) -> None:
    """Raises `SqlRefused` (sql_too_big) for a text that is too long, or has too many tokens."""
    if len(text) > max_chars:
        raise SqlRefused(f"The query may have {max_chars} characters at most ([sql] max_chars).", code="sql_too_big")
    for number, token in enumerate(_TOKEN.finditer(text)):
        if number == max_tokens:
            raise SqlRefused(
                f"The query has more than {max_tokens:,} words and signs ([sql] max_tokens): pass lists of values as a"
                " parameter, {paths:Array(String)}.",
                code="sql_too_big",
                place=place_of(text, token.start()),
            )
