"""Authorization: every action of the API, and the one decision whether a principal may do it to a resource."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from analytics_server.access.principals import Grant, Principal, PrincipalKind, spellings_of
from analytics_server.errors import Forbidden
from analytics_server.http.authorization import (
    ANY_ROLE,
    COLLECTING,
    EDITING,
    MANAGING,
    READING,
    Action,
    Resource,
    ResourceKind,
)

_NEEDS_EDITOR = "{who} has the role {role}; this call needs editor, admin or owner."
_NEEDS_ADMIN = "{who} has the role {role}; this call needs admin or owner."
_MAY_ONLY_COLLECT = "{who} has the role {role}; this call needs viewer, editor, admin or owner."

COLLECT = Action(
    name="collect",
    about="Send events; with a token as a trusted sender.",
    resource=ResourceKind.SITE,
    roles=COLLECTING,
    refusal="{who} may not collect: use a token of the role collect or admin.",
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
CHANGE_SITE = Action(
    name="change_site",
    about="Change a site's settings.",
    resource=ResourceKind.SITE,
    roles=MANAGING,
    refusal=_NEEDS_ADMIN,
)
MANAGE_SITES = Action(
    name="manage_sites",
    about="Create and delete sites, and see what was sent to names that no site has.",
    resource=ResourceKind.ALL_SITES,
    roles=MANAGING,
    refusal=_NEEDS_ADMIN,
)
MANAGE_TOKENS = Action(
    name="manage_tokens",
    about="See, make, change and revoke tokens of the sites covered, with no more rights than one's own.",
    resource=ResourceKind.NOTHING,
    roles=MANAGING,
    refusal=_NEEDS_ADMIN,
)
ADD_PEOPLE = Action(
    name="add_people",
    about="Add people with a password.",
    resource=ResourceKind.ALL_SITES,
    roles=MANAGING,
    refusal=_NEEDS_ADMIN,
)
MANAGE_PEOPLE = Action(
    name="manage_people",
    about="See, invite, change and delete people of the sites covered, with no more rights than one's own.",
    resource=ResourceKind.NOTHING,
    roles=MANAGING,
    refusal=_NEEDS_ADMIN,
)
MANAGE_LINKS = Action(
    name="manage_links",
    about="See, make and revoke share links of a site.",
    resource=ResourceKind.SITE,
    roles=MANAGING,
    refusal=_NEEDS_ADMIN,
)
VIEW_SELF = Action(
    name="view_self",
    about="See who one is; of people, also sign out and change the password and the second factor.",
    resource=ResourceKind.NOTHING,
    roles=ANY_ROLE,
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
    roles=EDITING,
    refusal=_NEEDS_EDITOR,
)
SAVE_OWN = Action(
    name="save_own",
    about="Save with a site what nobody else sees, and change and delete that.",
    resource=ResourceKind.SITE,
    roles=READING,
    refusal=_MAY_ONLY_COLLECT,
    people_only=True,
)
EDIT_SHARED_OR_OWN = replace(EDIT_SAVED, otherwise=SAVE_OWN)
"""Of saved things that may be a person's own: `edit_saved` for shared ones, `save_own` for the caller's."""
VIEW_SCHEMA = Action(
    name="view_schema", about="See the tables and functions of SQL.", resource=ResourceKind.NOTHING, roles=READING
)
VIEW_DROPS = Action(
    name="view_drops",
    about="See what was dropped and rejected, of the sites covered.",
    resource=ResourceKind.NOTHING,
    roles=READING,
)
EXPORT_PERSON = Action(
    name="export_person",
    about="Export what is stored of a person, on the sites covered.",
    resource=ResourceKind.NOTHING,
    roles=MANAGING,
    refusal=_NEEDS_ADMIN,
)
ERASE_PERSON = Action(
    name="erase_person",
    about="Erase what is stored of a person, on the sites covered, and see how far that is.",
    resource=ResourceKind.NOTHING,
    roles=MANAGING,
    refusal=_NEEDS_ADMIN,
)
MANAGE_OPT_OUTS = Action(
    name="manage_opt_outs",
    about="See and change who has opted out, of the sites covered.",
    resource=ResourceKind.NOTHING,
    roles=MANAGING,
    refusal=_NEEDS_ADMIN,
)
PLAN_EXPERIMENT = Action(
    name="plan_experiment", about="Work out a sample size: arithmetic.", resource=ResourceKind.NOTHING, roles=ANY_ROLE
)
VIEW_AUDIT = Action(
    name="view_audit",
    about="See who did what, on the sites covered.",
    resource=ResourceKind.NOTHING,
    roles=MANAGING,
    refusal=_NEEDS_ADMIN,
)
MANAGE_AUDIT = Action(
    name="manage_audit",
    about="Check the audit log, export all of it, and remove the chain of a server that is gone.",
    resource=ResourceKind.ALL_SITES,
    roles=MANAGING,
    refusal=_NEEDS_ADMIN,
)
EXPIRE_DATA = Action(
    name="expire_data",
    about="Remove what is older than its site keeps it, or see what would go.",
    resource=ResourceKind.ALL_SITES,
    roles=MANAGING,
    refusal=_NEEDS_ADMIN,
)
VIEW_PRIVACY_REPORT = Action(
    name="view_privacy_report",
    about="See what a site stores, why and how long.",
    resource=ResourceKind.SITE,
    roles=MANAGING,
    refusal=_NEEDS_ADMIN,
)
PROVISION = Action(
    name="provision",
    about="Let an assistant create goals and annotations, and sites where it covers all; its tools want this by name.",
    resource=ResourceKind.SITE,
    roles=MANAGING,
    refusal=_NEEDS_ADMIN,
)

ACTIONS: tuple[Action, ...] = (
    COLLECT,
    QUERY_SITE,
    VIEW_SITE,
    LIST_SITES,
    CHANGE_SITE,
    MANAGE_SITES,
    MANAGE_TOKENS,
    ADD_PEOPLE,
    MANAGE_PEOPLE,
    MANAGE_LINKS,
    VIEW_SELF,
    VIEW_SAVED,
    EDIT_SAVED,
    VIEW_SCHEMA,
    VIEW_DROPS,
    EXPORT_PERSON,
    ERASE_PERSON,
    MANAGE_OPT_OUTS,
    PLAN_EXPERIMENT,
    VIEW_AUDIT,
    MANAGE_AUDIT,
    EXPIRE_DATA,
    VIEW_PRIVACY_REPORT,
    PROVISION,
)
"""What roles, and scopes of tokens, are made of."""
PEOPLE_ACTIONS: tuple[Action, ...] = (SAVE_OWN,)
"""What people who sign in may besides, and no token: it concerns only what is one's own, so it is not passed on."""

_WHO = {
    PrincipalKind.PERSON: "Your account",
    PrincipalKind.TOKEN: "This token",
    PrincipalKind.SHARE_LINK: "This link",
    PrincipalKind.INTERNAL: "This program",
}


def allowed(principal: Principal, action: Action, resource: Resource) -> bool:
    """May the principal do this to the resource?"""
    return not refusal(principal, action, resource)


def refusal(principal: Principal, action: Action, resource: Resource) -> str:
    """Why the principal may not do this to the resource; empty if it may."""
    is_person = principal.kind is PrincipalKind.PERSON
    if action.people_only and not is_person:
        return f"{_WHO[principal.kind]} has nothing of its own: only people who sign in have."
    why = _refusal(principal, action, resource)
    return refusal(principal, action.otherwise, resource) if why and is_person and action.otherwise else why


def _refusal(principal: Principal, action: Action, resource: Resource) -> str:
    granted = [grant for grant in principal.grants if grant.allows(action)]
    who = _WHO[principal.kind]
    if not granted:
        return action.refusal.format(who=who, role=principal.roles)
    if resource.kind is ResourceKind.ALL_SITES and all(grant.sites for grant in granted):
        return f"{who} covers single sites only; managing needs all sites."
    if resource.kind is ResourceKind.SITE and not any(grant.covers(resource.site_id) for grant in granted):
        return f"{who} does not cover the site {resource.site_id!r}."
    return ""


def excess(principal: Principal, wanted: Iterable[Grant], *, until_ms: int = 0) -> str:
    """Why the principal may not pass these grants on, as they allow what it may not do itself; empty if it may.

    `until_ms`: when what is passed on ends, 0 for never. It may not outlive the principal.
    """
    for grant in wanted:
        if principal.expires_at_ms and not 0 < until_ms <= principal.expires_at_ms:
            end = datetime.fromtimestamp(principal.expires_at_ms / 1000, UTC)
            return f"{_WHO[principal.kind]} ends at {end:%Y-%m-%dT%H:%M:%SZ}, so it can't pass on what outlasts it."
        asked = spellings_of(grant.sites)
        for action in filter(grant.allows, ACTIONS):
            own = [each for each in principal.grants if each.allows(action)]
            if any(not each.sites for each in own):
                continue
            covered = frozenset[str]().union(*(spellings_of(each.sites) for each in own))
            if not asked or not asked <= covered:
                missing = ", ".join(repr(site) for site in sorted(asked - covered)[:3]) or "all sites"
                return f"{_WHO[principal.kind]} may not do {action.name} on {missing}, so it can't pass that on."
    return ""


class Authenticator(Protocol):
    """Knows tokens, or sessions too."""

    async def authenticate(self, authorization: str | None) -> Principal:
        """The principal of an `Authorization` header. Raises `Unauthorized`."""


class GateAuthorizer:
    """Authentication by tokens and sessions, and authorization by `allowed`, for the endpoints."""

    def __init__(self, gate: Authenticator) -> None:
        self._gate = gate

    async def authenticate(self, authorization: str | None) -> Principal:
        """The principal of an `Authorization` header. Raises `Unauthorized`."""
        return await self._gate.authenticate(authorization)

    def authorize(self, caller: Principal, action: Action, resource: Resource) -> None:
        """Raises `Forbidden` unless the principal may do that to the resource."""
        if why := refusal(caller, action, resource):
            raise Forbidden(why)
