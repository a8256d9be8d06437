"""Query-string parameters: each one may be given once, and unknown ones are refused."""

from __future__ import annotations

from aiohttp import web

from analytics_server.errors import RequestError

SHOWN_CHARS = 120
MOST_DIGITS = 9


def single_values(request: web.Request) -> dict[str, str]:
    """The query string's values by name. Raises `RequestError` (bad_request) for a name that stands there twice."""
    for name in request.query:
        if len(request.query.getall(name)) > 1:
            raise RequestError(f"The parameter {name[:SHOWN_CHARS]!r} is given more than once.", code="bad_request")
    return dict(request.query)


def known_values(request: web.Request, *names: str) -> dict[str, str]:
    """The values of the parameters that an address knows, empty where absent.

    Raises `RequestError`: unknown_key for a parameter of another name, bad_request for a repeated one.
    """
    for name in request.query:
        if name not in names:
            raise RequestError(
                f"There is no parameter {name[:SHOWN_CHARS]!r}. Valid: {', '.join(names)}.", code="unknown_key"
            )
    given = single_values(request)
    return {name: given.get(name, "") for name in names}


def is_number_within(text: str, most: int) -> bool:
    """Is it a whole number from 1 to `most`, written in digits? So long a text that it takes time to read is none."""
    return len(text) <= MOST_DIGITS and text.isascii() and text.isdigit() and 1 <= int(text) <= most
