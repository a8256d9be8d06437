"""Endpoints for pages and files: what answers GET with something for people, without a token."""

from __future__ import annotations

from analytics_server.http.authorization import PUBLIC
from analytics_server.http.declaration import Parameter, Reply, plain_path
from analytics_server.http.endpoint import Endpoint, RawHandler


def page(method: str, path: str, serve: RawHandler, summary: str, *replies: Reply) -> Endpoint:
    """A page. Its variable parts are texts; 404 where there is nothing of that name, in JSON if no reply is for it."""
    plain = plain_path(path)
    variable = [part.partition("}")[0] for part in plain.split("{")[1:]]
    words = "".join(char if char.isalnum() else " " for char in plain).split()
    return Endpoint(
        method=method,
        path=path,
        name="_".join(["show" if method == "GET" else "send", *words, *(["root"] if path[-1] == "/" else [])]),
        summary=summary,
        tag="pages",
        action=PUBLIC,
        serve=serve,
        parameters=tuple(Parameter(name=one, about="Part of the address.", required=True) for one in variable),
        replies=replies or (Reply(about="The page.", formats=("text/html",)),),
        errors={404: ("not_found",)} if variable and all(reply.status != 404 for reply in replies) else {},
    )
