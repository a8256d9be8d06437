"""Authorization: every action of the API, and the one decision whether a principal may do it to a resource."""

from __future__ import annotations

from typing import Protocol

from analytics_server.access.gate import Principal
from analytics_server.errors import Forbidden
from analytics_server.http.authorization import ANY_ROLE, COLLECTING, MANAGING, READING, Action, Resource, ResourceKind

_NEEDS_ADMIN = "This token has the role {role}; this call needs admin."
_MAY_ONLY_COLLECT = "This token may only collect."

COLLECT = Action(
    name="collect",
    about="Send events; with a token as a trusted sender.",
    resource=ResourceKind.SITE,
    roles=COLLECTING,
    refusal="This token may not collect: use one of the role collect or admin.",
    optional_token=True,
)
QUERY_SITE = Action(
    name="query_site", about="Ask questions about a site's events.", resource=ResourceKind.SITE, roles=READING
)
VIEW_SITE = Action(
    name="view_site",
    about="See a site's settings.",
    resource=ResourceKind.SITE,
    roles=READING,
    refusal=_MAY_ONLY_COLLECT,
)
LIST_SITES = Action(
    name="list_sites",
    about="See which sites there are, of those covered.",
    resource=ResourceKind.NOTHING,
    roles=READING,
    refusal=_MAY_ONLY_COLLECT,
)
MANAGE_SITES = Action(
    name="manage_sites",
    about="Create, change and delete sites.",
    resource=ResourceKind.ALL_SITES,
    roles=MANAGING,
    refusal=_NEEDS_ADMIN,
)
MANAGE_TOKENS = Action(
    name="manage_tokens",
    about="See, make, change and revoke tokens.",
    resource=ResourceKind.ALL_SITES,
    roles=MANAGING,
    refusal=_NEEDS_ADMIN,
)
VIEW_SAVED = Action(
    name="view_saved",
    about="See what is saved with a site.",
    resource=ResourceKind.SITE,
    roles=READING,
    refusal=_MAY_ONLY_COLLECT,
)
EDIT_SAVED = Action(
    name="edit_saved",
    about="Create, change and delete what is saved with a site.",
    resource=ResourceKind.SITE,
    roles=MANAGING,
    refusal=_NEEDS_ADMIN,
)
VIEW_SCHEMA = Action(
    name="view_schema", about="See the tables and functions of SQL.", resource=ResourceKind.NOTHING, roles=READING
)
VIEW_DROPS = Action(
    name="view_drops",
    about="See what was dropped and rejected, of the sites covered.",
    resource=ResourceKind.NOTHING,
    roles=READING,
)
PLAN_EXPERIMENT = Action(
    name="plan_experiment", about="Work out a sample size: arithmetic.", resource=ResourceKind.NOTHING, roles=ANY_ROLE
)

ACTIONS: tuple[Action, ...] = (
    COLLECT,
    QUERY_SITE,
    VIEW_SITE,
    LIST_SITES,
    MANAGE_SITES,
    MANAGE_TOKENS,
    VIEW_SAVED,
    EDIT_SAVED,
    VIEW_SCHEMA,
    VIEW_DROPS,
    PLAN_EXPERIMENT,
)


def allowed(principal: Principal, action: Action, resource: Resource) -> bool:
    """May the principal do this to the resource?"""
    return not refusal(principal, action, resource)


def refusal(principal: Principal, action: Action, resource: Resource) -> str:
    """Why the principal may not do this to the resource; empty if it may."""
    if principal.role.value not in action.roles:
        return action.refusal.format(role=principal.role)
    if resource.kind is ResourceKind.ALL_SITES and principal.sites:
        return "This token covers single sites only; managing needs one for all sites."
    if resource.kind is ResourceKind.SITE and not principal.covers(resource.site_id):
        return f"This token does not cover the site {resource.site_id!r}."
    return ""


class Authenticator(Protocol):
    """Knows tokens: the gate."""

    async def authenticate(self, authorization: str | None) -> Principal:
        """The principal of an `Authorization` header. Raises `Unauthorized`."""


class GateAuthorizer:
    """Authentication by the gate's tokens and authorization by `allowed`, for the endpoints."""

    def __init__(self, gate: Authenticator) -> None:
        self._gate = gate

    async def authenticate(self, authorization: str | None) -> Principal:
        """The principal of an `Authorization` header. Raises `Unauthorized`."""
        return await self._gate.authenticate(authorization)

    def authorize(self, caller: Principal, action: Action, resource: Resource) -> None:
        """Raises `Forbidden` unless the principal may do that to the resource."""
        if why := refusal(caller, action, resource):
            raise Forbidden(why)

    async def check(self, authorization: str | None, action: Action, resource: Resource) -> None:
        """Both in one step. Raises `Unauthorized`, `Forbidden`."""
        self.authorize(await self.authenticate(authorization), action, resource)
