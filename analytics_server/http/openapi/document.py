"""Builds one OpenAPI 3.1 document from all endpoints.

Pure. Schemas come from the structs by msgspec; nothing about a shape is written here by
hand. OpenAPI 3.1 schemas are JSON Schema 2020-12, which is what msgspec generates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from analytics_server.http.declaration import JSON, Body, Error, Parameter, Reply
from analytics_server.http.endpoint import Endpoint, ForeignProtocol

REF = "#/components/schemas/{name}"
RETRY_STATUSES = (429, 503)
SCHEME = "bearer"
TAGS = {
    "collect": "Beacons: public, from any origin.",
    "query": "Questions about a site.",
    "analysis": "Funnels, cohorts, paths, sessions.",
    "experiments": "A/B tests: definition, assignment, results.",
    "saved": "Goals, segments, annotations and queries that are kept with a site.",
    "access": "Sites and tokens.",
    "privacy": "A person's rights, who did what, and what is stored why and how long.",
    "people": "People who sign in: accounts, invitations, sessions.",
    "live": "Who is there now.",
    "operations": "For those who run the server.",
    "pages": "The dashboard and the demo site: pages for people.",
}
"""Every tag with its description, in the order in which they are shown."""

ABOUT = """\
Self-hosted web analytics. Errors are `{"error": {"code", "message"}}`; `x-error-codes` of a response lists its codes.
`x-role` says which role an operation needs at least, of `viewer`, `editor`, `admin` and `owner`; `collect` means that a
token is optional. What people who sign in may do with less, the operation says. Other methods of a path are answered
with 405, other paths with 404.
"""

Json = dict[str, Any]


def build_document(
    endpoints: Sequence[Endpoint], *, version: str, url: str = "/", components: Mapping[str, Json] | None = None
) -> Json:
    """The document as JSON values. `components`: schemas that types refer to and are no structs.

    Raises what `check` raises.
    """
    check(endpoints)
    types = list(_types(endpoints))
    generated, structs = msgspec.json.schema_components(types, schema_hook=_hook, ref_template=REF)
    found = {id(kind): schema for kind, schema in zip(types, _plain(list(generated)), strict=True)}
    known = _plain({**structs, **(components or {})})
    sent = [found[id(kind)] for endpoint in endpoints for kind in _sent(endpoint)]
    for name in known.keys() - _reached(sent, known):
        _open(known[name])
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        method, path = endpoint.route
        paths.setdefault(path, {})[method.lower()] = _operation(endpoint, found)
    used = {endpoint.tag for endpoint in endpoints}
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "analytics-server",
            "version": version,
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": url}],
        "tags": [{"name": name, "description": about} for name, about in TAGS.items() if name in used],
        "paths": paths,
        "components": {
            "schemas": known,
            "securitySchemes": {
                SCHEME: {"type": "http", "scheme": "bearer", "description": "A token of the server: `ast_…`."}
            },
        },
    }


def _plain(value: Any) -> Any:
    """Lists of so many values of one kind as such: many tools don't know `prefixItems`."""
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    found = {key: _plain(inner) for key, inner in value.items()}
    first = found.get("prefixItems")
    if isinstance(first, list) and found.get("maxItems") == len(first) and all(item == first[0] for item in first):
        del found["prefixItems"]
        found["items"] = first[0]
    return found


def check(endpoints: Sequence[Endpoint]) -> None:
    """Raises `ValueError` where two endpoints have one name or route, or one does not describe its path."""
    for what, counts in (
        ("name", Counter(endpoint.name for endpoint in endpoints)),
        ("route", Counter(str(endpoint.route) for endpoint in endpoints)),
    ):
        if twice := [key for key, count in counts.items() if count > 1]:
            raise ValueError(f"Two endpoints have one {what}: {twice}.")
    if unknown := {endpoint.tag for endpoint in endpoints} - set(TAGS):
        raise ValueError(f"There is no tag {unknown}.")
    for endpoint in endpoints:
        if missing := _path_names(endpoint) - {parameter.name for parameter in endpoint.parameters}:
            raise ValueError(f"{endpoint.route} does not describe {missing}.")


def _path_names(endpoint: Endpoint) -> set[str]:
    return {part.partition("}")[0] for part in endpoint.route[1].split("{")[1:]}


def _types(endpoints: Iterable[Endpoint]) -> Iterator[Any]:
    """Every type that is used somewhere; found again by its identity."""
    yield Error
    for endpoint in endpoints:
        yield from _sent(endpoint)
        yield from (reply.type for reply in endpoint.replies if reply.type is not None)


def _sent(endpoint: Endpoint) -> Iterator[Any]:
    """The types of what clients send."""
    yield from (parameter.type for parameter in endpoint.parameters)
    if endpoint.body is not None:
        yield from endpoint.body.types


def _reached(values: Sequence[Any], components: Mapping[str, Json]) -> set[str]:
    """The components that schemas refer to, directly or through others."""
    found: set[str] = set()
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            name = str(value.get("$ref", "")).rpartition("/")[2]
            if name in components and name not in found:
                found.add(name)
                waiting.append(components[name])
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return found


def _open(schema: Json) -> None:
    """What is only ever answered: values that have a default are always there, and keys may be added."""
    schema.pop("additionalProperties", None)
    for name, inner in schema.get("properties", {}).items():
        if "default" in inner:
            del inner["default"]
            schema["required"].append(name)


def _hook(kind: type) -> Json:
    if kind is object:
        return {"description": "Any JSON value."}
    raise NotImplementedError


def _operation(endpoint: Endpoint, schemas: Mapping[int, Json]) -> Json:
    path_names = _path_names(endpoint)
    found: Json = {"operationId": endpoint.name, "summary": endpoint.summary, "tags": [endpoint.tag]}
    if endpoint.about:
        found["description"] = endpoint.about
    if endpoint.role:
        found["x-role"] = endpoint.role
    token: list[Json] = [{SCHEME: []}]
    found["security"] = {"": [], "collect": [{}, *token]}.get(endpoint.role, token)
    if endpoint.parameters:
        found["parameters"] = [_parameter(one, one.name in path_names, schemas) for one in endpoint.parameters]
    if endpoint.body is not None:
        found["requestBody"] = _body(endpoint.body, schemas)
    replies = {str(reply.status): _reply(reply, schemas) for reply in endpoint.replies}
    errors = {
        str(status): _error(status, codes, schemas, endpoint.protocol)
        for status, codes in endpoint.all_errors().items()
    }
    both = {status: _either(replies[status], errors[status]) for status in replies.keys() & errors.keys()}
    found["responses"] = replies | errors | both
    return found


def _either(reply: Json, error: Json) -> Json:
    """An error that is answered in the shape of its protocol, or in that of all others."""
    shapes = [each["content"][JSON]["schema"] for each in (reply, error)]
    about = f"{reply['description']} {error['description']}"
    return {**error, "description": about, "content": {JSON: {"schema": {"anyOf": shapes}}}}


def _parameter(parameter: Parameter, in_path: bool, schemas: Mapping[int, Json]) -> Json:
    found: Json = {
        "name": parameter.name,
        "in": "path" if in_path else "query",
        "required": in_path or parameter.required,
        "description": parameter.about,
        "schema": schemas[id(parameter.type)],
    }
    if parameter.example is not None:
        found["example"] = parameter.example
    return found


def _body(body: Body, schemas: Mapping[int, Json]) -> Json:
    one_of = [schemas[id(kind)] for kind in body.types]
    content: Json = {"schema": one_of[0] if len(one_of) == 1 else {"anyOf": one_of}}
    if body.examples:
        content["examples"] = {name: {"value": value} for name, value in body.examples.items()}
    found: Json = {"required": True, "content": {body.content_type: content}}
    return found | ({"description": body.about} if body.about else {})


def _reply(reply: Reply, schemas: Mapping[int, Json]) -> Json:
    found: Json = {"description": reply.about}
    if reply.headers:
        found["headers"] = {
            name: {"description": about, "schema": {"type": "string"}} for name, about in reply.headers.items()
        }
    content: Json = {kind: {} for kind in reply.formats}
    if reply.type is not None:
        shown: Json = {"schema": schemas[id(reply.type)]}
        content = {JSON: shown | ({} if reply.example is None else {"example": reply.example})} | content
    return found | ({"content": content} if content else {})


def _error(status: int, codes: Sequence[str], schemas: Mapping[int, Json], protocol: ForeignProtocol | None) -> Json:
    content: Json = {JSON: {"schema": schemas[id(Error)]}} if protocol is None else {protocol.errors: {}}
    found: Json = {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(f'`{code}`' for code in codes)}.",
        "content": content,
        "x-error-codes": list(codes),
    }
    if status in RETRY_STATUSES:
        found["headers"] = {
            "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
        }
    if status == 401:
        scheme: Json = {"description": "Always `Bearer`.", "schema": {"type": "string", "const": "Bearer"}}
        if protocol is not None:
            scheme = {"description": f"Begins with `{protocol.challenge}`.", "schema": {"type": "string"}}
        found["headers"] = {"WWW-Authenticate": scheme}
    return found
