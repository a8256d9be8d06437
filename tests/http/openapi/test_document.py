"""The document describes every route and nothing else, and what it says is consistent."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from aiohttp import web
from jsonschema import Draft202012Validator

import analytics_server
from analytics_server.access.actions import QUERY_SITE
from analytics_server.app import Server
from analytics_server.config import Config, DashboardSection, ServerSection, TrackerSection
from analytics_server.http.authorization import PUBLIC
from analytics_server.http.declaration import Body, Parameter, Reply, plain_path
from analytics_server.http.endpoint import Endpoint
from analytics_server.http.openapi.document import build_document
from analytics_server.http.routing.routes import route_table
from tests.http.openapi.document import Document, references
from tests.whole import api_description, route_paths

PACKAGE = Path(analytics_server.__file__).parent


@pytest.fixture(scope="module")
def document() -> Document:
    """The document of a server with all faces enabled, as a client reads it."""
    return Document(asyncio.run(api_description()))


@pytest.mark.parametrize(
    "config",
    [
        Config(server=ServerSection(demo=True)),
        Config(
            tracker=TrackerSection(script_path="/s/x.js", collect_path="/in"),
            dashboard=DashboardSection(enabled=False),
        ),
    ],
    ids=["everything", "other paths, no pages"],
)
def test_every_route_is_an_endpoint_and_every_endpoint_has_a_route(config: Config) -> None:
    server = Server(config)
    endpoints = server.endpoints()
    declared = [endpoint.route for endpoint in endpoints]
    routes = route_table(endpoints, server.access.authorizer)

    assert [(route.method, plain_path(route.path)) for route in routes] == declared
    assert len(set(declared)) == len(declared)


def test_the_document_holds_every_path(document: Document) -> None:
    assert set(document.spec["paths"]) == {plain_path(path) for path in route_paths()}


def test_schemas_are_valid_and_references_lead_somewhere(document: Document) -> None:
    for name, schema in document.spec["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert re.fullmatch(r"[A-Z][A-Za-z]+", name), f"{name}: two structs of one name, or a private one"
    known = {f"#/components/schemas/{name}" for name in document.spec["components"]["schemas"]}
    assert set(references(document.spec)) <= known


def test_every_code_that_is_raised_somewhere_is_one_that_some_operation_answers_with(document: Document) -> None:
    answered = {
        code
        for operation in document.operations
        for response in operation.spec["responses"].values()
        for code in response.get("x-error-codes", ())
    }
    packages = ("access", "analyses", "clickhouse", "collect", "live", "query", "saved", "sql")
    sources = [path.read_text(encoding="utf-8") for name in packages for path in (PACKAGE / name).rglob("*.py")]
    raised = {code for source in sources for code in re.findall(r'\bcode="([a-z_]+)"', source)}
    assert {"several_currencies", "bad_window", "name_taken"} <= raised
    assert raised - answered == set()


def test_a_page_that_says_there_is_nothing_stays_a_page(document: Document) -> None:
    assert set(document.spec["paths"]["/demo/{path}"]["get"]["responses"]["404"]["content"]) == {"text/html"}


def test_headers_that_mean_something_are_described(document: Document) -> None:
    paths = document.spec["paths"]
    assert "X-Row-Limit" in paths["/api/v1/sql"]["post"]["responses"]["200"]["headers"]
    for path in ("/a.js", "/dashboard", "/dashboard/static/{version}/{name}"):
        assert "ETag" in paths[path]["get"]["responses"]["200"]["headers"]


def test_a_websocket_refuses_by_close_codes_not_by_statuses(document: Document) -> None:
    """But for a session's cookie from a foreign page, which no page of ours has to hear of."""
    assert set(document.spec["paths"]["/api/v1/live"]["get"]["responses"]) == {"101", "400", "403"}


def test_every_operation_says_what_it_is(document: Document) -> None:
    for operation in document.operations:
        assert len(operation.spec["summary"]) > 5, operation.name
        assert re.fullmatch(r"[a-z0-9_]+", operation.name)
        assert operation.successes or operation.path.startswith("/demo"), operation.name
        assert operation.spec["tags"][0] in {tag["name"] for tag in document.spec["tags"]}


def test_summaries_have_the_right_article(document: Document) -> None:
    summaries = [operation.spec["summary"] for operation in document.operations]

    assert [text for text in summaries if re.search(r"\b(a [aeio]|an [^aeiou])", text, re.IGNORECASE)] == []


def test_everything_under_api_asks_for_a_token_but_what_pages_ask(document: Document) -> None:
    public = {"assign_variant", "assign_variant_preflight", "accept_invitation", "open_share_link"}
    public |= {"request_reset", "sign_in", "sign_in_methods"}
    for operation in document.operations:
        if operation.path.startswith("/api/") and operation.name not in public:
            assert operation.role in ("viewer", "editor", "admin", "owner", "collect"), operation.name
            assert operation.spec["security"] != [], operation.name


def test_examples_fit_their_schemas(document: Document) -> None:
    found = 0
    for operation in document.operations:
        for parameter in operation.spec.get("parameters", []):
            if "example" in parameter:
                assert document.problems(parameter["schema"], parameter["example"]) == [], operation.name
        contents = list(operation.spec.get("requestBody", {}).get("content", {}).values())
        for response in operation.spec["responses"].values():
            contents += response.get("content", {}).values()
        for content in contents:
            examples = [example["value"] for example in content.get("examples", {}).values()]
            examples += [content["example"]] if "example" in content else []
            found += len(examples)
            for example in examples:
                assert document.problems(content["schema"], example) == [], operation.name
    assert found > 20


def test_every_body_has_an_example(document: Document) -> None:
    for operation in document.operations:
        assert operation.bodies, operation.name


def test_answers_name_what_is_always_there_and_may_grow_while_requests_are_closed(document: Document) -> None:
    schemas = document.spec["components"]["schemas"]

    assert schemas["GoalRequest"]["required"] == ["site_id"]
    assert schemas["GoalRequest"]["additionalProperties"] is False
    assert {"event", "filters", "id"} <= set(schemas["GoalAnswer"]["required"])
    assert "additionalProperties" not in schemas["GoalAnswer"]
    assert "date_range" not in schemas["AnnotationAnswer"]["required"]


async def nothing(request: web.Request) -> web.StreamResponse:
    return web.Response()


def endpoint(**changes: object) -> Endpoint:
    given = {
        "method": "GET",
        "path": "/x",
        "name": "x",
        "summary": "An x",
        "tag": "query",
        "replies": (Reply(about="x"),),
        "action": PUBLIC,
        "serve": nothing,
    }
    return Endpoint(**{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        [endpoint(), endpoint(name="y")],
        [endpoint(), endpoint(path="/y")],
        [endpoint(path="/x/{id}")],
        [endpoint(tag="nothing")],
        [endpoint(path="/x/{id:.*}", parameters=(Parameter(name="name", about="x"),))],
    ],
    ids=["route twice", "name twice", "parameter missing", "unknown tag", "another parameter"],
)
def test_a_wrong_description_is_refused(wrong: list[Endpoint]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        build_document(wrong, version="1")


def test_errors_follow_from_role_body_and_store() -> None:
    plain = endpoint(errors={404: ("unknown_site",)})
    asking = endpoint(action=QUERY_SITE, asks_store=True, errors={503: ("busy",)})

    assert plain.all_errors() == {404: ("unknown_site",)}
    assert set(asking.all_errors()) == {401, 403, 503, 504}
    assert endpoint(body=Body(types=(dict,))).all_errors().keys() == {400, 408, 413}
    assert "busy" in asking.all_errors()[503]
    assert "store_unavailable" in asking.all_errors()[503]
