"""Which principal may do what: the whole table of roles and resources."""

from __future__ import annotations

import pytest

from analytics_server.access.actions import ACTIONS, allowed, refusal
from analytics_server.access.gate import Principal, Role
from analytics_server.http.authorization import ALL_SITES, ANYWHERE, Action, Resource, ResourceKind

OWN, FOREIGN = Resource.site("own.example"), Resource.site("foreign.example")
READ, COLLECT, ADMIN = Role.READ, Role.COLLECT, Role.ADMIN
MAY = {
    "collect": {COLLECT, ADMIN},
    "query_site": {READ, ADMIN},
    "view_site": {READ, ADMIN},
    "list_sites": {READ, ADMIN},
    "manage_sites": {ADMIN},
    "manage_tokens": {ADMIN},
    "view_saved": {READ, ADMIN},
    "edit_saved": {ADMIN},
    "view_schema": {READ, ADMIN},
    "view_drops": {READ, ADMIN},
    "plan_experiment": {READ, COLLECT, ADMIN},
}
"""Written down a second time on purpose: a right that changes has to be changed here as well."""


def principal(role: Role, *sites: str) -> Principal:
    return Principal(token_id="x", role=role, sites=sites)


def test_every_action_is_in_the_table() -> None:
    assert {action.name for action in ACTIONS} == set(MAY)
    assert len(ACTIONS) == len(MAY)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
@pytest.mark.parametrize("role", Role)
def test_a_role_may_what_the_table_says(action: Action, role: Role) -> None:
    may = role in MAY[action.name]
    assert principal(role).may_collect == (role in MAY["collect"])

    assert allowed(principal(role), action, ANYWHERE) == may
    if action.resource is ResourceKind.SITE:
        assert allowed(principal(role), action, OWN) == may
        assert allowed(principal(role, "own.example"), action, OWN) == may
        assert not allowed(principal(role, "own.example"), action, FOREIGN)
    if action.resource is ResourceKind.ALL_SITES:
        assert allowed(principal(role), action, ALL_SITES) == may
        assert not allowed(principal(role, "own.example"), action, ALL_SITES)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_a_refusal_says_why(action: Action) -> None:
    for role in Role:
        assert bool(refusal(principal(role), action, ANYWHERE)) == (role not in MAY[action.name])
    if action.resource is ResourceKind.SITE:
        assert "'foreign.example'" in refusal(principal(ADMIN, "own.example"), action, FOREIGN)
