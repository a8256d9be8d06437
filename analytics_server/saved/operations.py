"""What `/api/v1/{goals,segments,annotations,queries}` take and give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from analytics_server.access.saved import ID_BYTES
from analytics_server.http.openapi.operation import Body, Operation, Parameter, Reply
from analytics_server.query.operations import FILTER_CODES, NO_SITE, QUESTION_CODES, REQUEST_CODES, SITE
from analytics_server.saved.checks import SHELVES, Shelf
from analytics_server.sql.operations import CHECK_CODES

_ID = Annotated[str, Meta(pattern=f"^[0-9a-f]{{{2 * ID_BYTES}}}$")]
_CODES: Mapping[str, tuple[str, ...]] = {
    "goals": FILTER_CODES,
    "segments": FILTER_CODES,
    "annotations": ("bad_date_range",),
    "queries": (*QUESTION_CODES, *CHECK_CODES),
}
_ABOUT = {
    "goals": "Events of a name (`event`), on pages that fit a wildcard (`page`), passing `filters`: all that is given "
    "must hold. Questions name a goal by its id or name.",
    "segments": "Filters with a name, which may stand in any question's filters.",
    "annotations": "What happened when, for charts. Names may repeat.",
    "queries": "Questions that are kept.",
}
_SQL = {"name": "Rows", "sql": "SELECT count() FROM events WHERE name = {name:String}", "params": {"name": "signup"}}
_EXAMPLES: Mapping[str, dict[str, object]] = {
    "goals": {"name": "Signed up", "event": "signup", "about": "The form on /signup was sent."},
    "segments": {"name": "Swedish phones", "filters": [
        ["is", "visit:country", ["SE"]], ["is", "visit:device", ["Mobile"]]]},
    "annotations": {"date": "2026-11-01", "text": "New prices."},
    "queries": {"name": "Sources of the week", "request": {
        "site_id": "example.com", "metrics": ["visitors"], "date_range": "7d", "dimensions": ["visit:source"]}},
}  # fmt: skip
_CHANGES: Mapping[str, dict[str, object]] = {
    "goals": {"page": "/welcome*"},
    "segments": {"name": "Phones in Sweden"},
    "annotations": {"date_range": ["2026-11-01", "2026-11-03"]},
    "queries": {"name": "Where they came from this week"},
}


def operations() -> list[Operation]:
    """All four kinds."""
    return [operation for shelf in SHELVES for operation in _operations(shelf)]


def _operations(shelf: Shelf) -> list[Operation]:
    path, noun, kind = f"/api/v1/{shelf.plural}", shelf.noun, shelf.kind
    a, word = "an" if noun[0] in "aeiou" else "a", noun.replace(" ", "_")
    one = Parameter(name="id", about=f"The {noun}'s id.", type=_ID, required=True)
    unknown = {404: (f"unknown_{kind}", "unknown_site")}
    codes = {400: (*_CODES[shelf.plural], *REQUEST_CODES, "bad_name", "bad_saved")}
    taken = {} if shelf.plural == "annotations" else {409: ("name_taken",)}
    return [
        Operation(
            method="GET",
            path=path,
            name=f"list_{word}s" if word != "saved_query" else "list_saved_queries",
            summary=f"A site's {shelf.plural}",
            tag="saved",
            about=_ABOUT[shelf.plural],
            role="read",
            parameters=(SITE,),
            replies=(Reply(about="Annotations by time, all else by name.", type=shelf.answers),),
            errors={400: ("bad_request", "bad_saved", "unknown_key"), **NO_SITE},
        ),
        Operation(
            method="POST",
            path=path,
            name=f"create_{word}",
            summary=f"Save a new {noun}",
            tag="saved",
            about="Other servers on the same ClickHouse know it within ten seconds.",
            role="admin",
            body=Body(
                types=(shelf.request,),
                examples={
                    noun: {"site_id": "example.com", **_EXAMPLES[shelf.plural]},
                    **({"sql": {"site_id": "example.com", **_SQL}} if shelf.plural == "queries" else {}),
                },
            ),
            replies=(Reply(status=201, about="Saved.", type=shelf.answer),),
            errors={400: (*codes[400], "too_many"), **NO_SITE, **taken},
            asks_store=True,
            takes_turns=True,
        ),
        Operation(
            method="GET",
            path=path + "/{id}",
            name=f"get_{word}",
            summary=f"One {noun}",
            tag="saved",
            role="read",
            parameters=(one,),
            replies=(Reply(about=f"The {noun}.", type=shelf.answer),),
            errors={400: ("bad_saved",), **unknown},
            asks_store=True,
            takes_turns=True,
        ),
        Operation(
            method="PUT",
            path=path + "/{id}",
            name=f"change_{word}",
            summary=f"Change {a} {noun}",
            tag="saved",
            about="What is left out stays. The last change wins.",
            role="admin",
            parameters=(one,),
            body=Body(types=(shelf.change,), examples={"change": _CHANGES[shelf.plural]}),
            replies=(Reply(about=f"The {noun} as it is now.", type=shelf.answer),),
            errors={**codes, **unknown, **taken},
            asks_store=True,
            takes_turns=True,
        ),
        Operation(
            method="DELETE",
            path=path + "/{id}",
            name=f"delete_{word}",
            summary=f"Delete {a} {noun}",
            tag="saved",
            about="Also one that is in use: questions that name it are refused from then on.",
            role="admin",
            parameters=(one,),
            replies=(Reply(status=204, about="Deleted."),),
            errors=unknown,
            asks_store=True,
            takes_turns=True,
        ),
    ]
