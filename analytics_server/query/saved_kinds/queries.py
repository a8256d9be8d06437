"""Saved queries: questions that are kept, in JSON or in SQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from analytics_server.errors import RequestError
from analytics_server.model import Site, stored_site_id
from analytics_server.query.endpoint_parts import QUESTION_CODES
from analytics_server.query.engine import QueryService
from analytics_server.query.language.request import QueryRequest, decode_request
from analytics_server.query.plan.plan import make_plan
from analytics_server.query.sql.statement import compile_question
from analytics_server.saved.shapes import Name, SiteId
from analytics_server.saved.store import Kind, SavedThing
from analytics_server.saved.types import SavedType, plain_texts

QuestionBody = Annotated[dict[str, object], Meta(extra_json_schema={"$ref": "#/components/schemas/QueryRequest"})]

SqlCheck = Callable[[str, str, Mapping[str, object]], Awaitable[None]]
"""Can that text with those parameters be asked of the site? Raises `RequestError`. Arguments: site id, SQL, params."""


MAX_PRIVATE = 100
"""So many private queries a person may have on a site."""
_FOR_ONESELF = (
    "A person who signs in and may not edit what is shared saves it for themselves; so does an editor with `private`."
)
_ONE_S_OWN = "A person who signs in may do this to their private queries whatever their role on the site."


class QueryBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question: `request` is a body of `POST /api/v1/query`, `sql` and `params` are for `POST /api/v1/sql`."""

    request: QuestionBody | UnsetType = UNSET
    sql: str | UnsetType = UNSET
    params: dict[str, object] | UnsetType = UNSET


class SavedQueryRequest(QueryBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new saved query: with `request`, or with `sql` and perhaps `params`.

    `private`: for the person who saves it alone. Left out: shared, or private where the person may not edit what is.
    """

    site_id: SiteId
    name: Name
    private: bool | UnsetType = UNSET


class SavedQueryChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays; `request`, `sql` and `params` are replaced together."""

    site_id: SiteId | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    request: QuestionBody | UnsetType = UNSET
    sql: str | UnsetType = UNSET
    params: dict[str, object] | UnsetType = UNSET


class SavedQueryAnswer(QueryBody, frozen=True, kw_only=True):
    """A saved query. `private`: the caller's own, which nobody else sees; left out of shared ones."""

    id: str
    site_id: str
    name: str
    created_at_ms: int
    updated_at_ms: int
    private: bool | UnsetType = UNSET


class SavedQueriesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A site's saved queries and the caller's private ones, by name."""

    queries: list[SavedQueryAnswer]


def query_type(service: QueryService, check_sql: SqlCheck, sql_codes: tuple[str, ...]) -> SavedType:
    """Saved queries. `check_sql` checks those in SQL, and refuses with `sql_codes`."""

    async def check(asked: SavedQueryRequest, site: Site, before: SavedThing | None) -> tuple[str, QueryBody]:
        """A saved query can be asked as it stands."""
        if (asked.request is UNSET) == (asked.sql is UNSET):
            raise RequestError(
                "A saved query needs one of request (a body of POST /api/v1/query) and sql.", code="bad_request"
            )
        if asked.request is not UNSET:
            if asked.params is not UNSET:
                raise RequestError("params go with sql, not with request.", code="bad_request")
            await _check_question(decode_request(msgspec.json.encode(asked.request), QueryRequest), site, service)
        if asked.sql is not UNSET:
            await check_sql(site.site_id, asked.sql, {} if asked.params is UNSET else asked.params)
        return asked.name, QueryBody(request=asked.request, sql=asked.sql, params=asked.params)

    texts = plain_texts(
        "saved query",
        "queries",
        "Questions that are kept.",
        examples={
            "saved query": {
                "site_id": "example.com",
                "name": "Sources of the week",
                "request": {
                    "site_id": "example.com",
                    "metrics": ["visitors"],
                    "date_range": "7d",
                    "dimensions": ["visit:source"],
                },
            },
            "sql": {
                "site_id": "example.com",
                "name": "Rows",
                "sql": "SELECT count() FROM events WHERE name = {name:String}",
                "params": {"name": "signup"},
            },
        },
        change={"name": "Where they came from this week"},
        codes=(*QUESTION_CODES, *sql_codes),
        unavailable=("busy",),
    )
    return SavedType(
        kind=Kind.QUERY,
        noun="saved query",
        plural="queries",
        path="/api/v1/queries",
        request=SavedQueryRequest,
        change=SavedQueryChange,
        body=QueryBody,
        answer=SavedQueryAnswer,
        answers=SavedQueriesAnswer,
        together=("request", "sql", "params"),
        check=check,
        details=lambda thing, site: {"private": True} if thing.owner else {},
        most_private=MAX_PRIVATE,
        texts=replace(
            texts,
            create=replace(texts.create, about=f"{_FOR_ONESELF} {texts.create.about}"),
            change=replace(texts.change, about=f"{_ONE_S_OWN} {texts.change.about}"),
            delete=replace(texts.delete, about=f"{_ONE_S_OWN} {texts.delete.about}"),
        ),
    )


async def _check_question(question: QueryRequest, site: Site, service: QueryService) -> None:
    if stored_site_id(question.site_id) != stored_site_id(site.site_id):
        raise RequestError(
            f"request.site_id is {question.site_id!r}, and the query is saved for {site.site_id!r}: name one site.",
            code="bad_request",
        )
    prepared = await service.prepare(question)
    compile_question(prepared.question, make_plan(prepared.question, prepared.range_), prepared.range_)
