"""Which principal may do what: the whole table of roles and resources, and what may be passed on."""

from __future__ import annotations

import pytest

from analytics_server.access.actions import (
    ACTIONS,
    EDIT_SAVED,
    EDIT_SHARED_OR_OWN,
    PEOPLE_ACTIONS,
    SAVE_OWN,
    VIEW_SAVED,
    allowed,
    excess,
    refusal,
)
from analytics_server.access.principals import Grant, Principal, PrincipalKind, Role
from analytics_server.http.authorization import ALL_SITES, ANYWHERE, Action, Resource, ResourceKind

OWN, FOREIGN = Resource.site("own.example"), Resource.site("foreign.example")
VIEWER, EDITOR, ADMIN, OWNER, COLLECT = Role.VIEWER, Role.EDITOR, Role.ADMIN, Role.OWNER, Role.COLLECT
READING = {VIEWER, EDITOR, ADMIN, OWNER}
MAY = {
    "collect": {COLLECT, ADMIN, OWNER},
    "query_site": READING,
    "view_privacy_report": {ADMIN, OWNER},
    "view_site": READING,
    "list_sites": READING,
    "change_site": {ADMIN, OWNER},
    "manage_sites": {ADMIN, OWNER},
    "manage_tokens": {ADMIN, OWNER},
    "add_people": {ADMIN, OWNER},
    "manage_people": {ADMIN, OWNER},
    "manage_links": {ADMIN, OWNER},
    "view_self": {*READING, COLLECT},
    "view_saved": READING,
    "edit_saved": {EDITOR, ADMIN, OWNER},
    "view_schema": READING,
    "view_drops": READING,
    "view_audit": {ADMIN, OWNER},
    "manage_audit": {ADMIN, OWNER},
    "expire_data": {ADMIN, OWNER},
    "export_person": {ADMIN, OWNER},
    "erase_person": {ADMIN, OWNER},
    "manage_opt_outs": {ADMIN, OWNER},
    "plan_experiment": {*READING, COLLECT},
    "provision": {ADMIN, OWNER},
}
"""Written down a second time on purpose: a right that changes has to be changed here as well."""


def principal(*grants: Grant) -> Principal:
    return Principal(kind=PrincipalKind.TOKEN, id="x", grants=grants)


def of_role(role: Role, *sites: str) -> Principal:
    return principal(Grant.of_role(role, sites))


def test_every_action_is_in_the_table() -> None:
    assert {action.name for action in ACTIONS} == set(MAY)
    assert len(ACTIONS) == len(MAY)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
@pytest.mark.parametrize("role", Role)
def test_a_role_may_what_the_table_says(action: Action, role: Role) -> None:
    may = (VIEWER if role is Role.READ else role) in MAY[action.name]
    everywhere, here = of_role(role), of_role(role, "own.example")
    assert everywhere.may_collect == (role in MAY["collect"])

    assert allowed(everywhere, action, ANYWHERE) == may
    if action.resource is ResourceKind.SITE:
        assert allowed(everywhere, action, OWN) == may
        assert allowed(here, action, OWN) == may
        assert not allowed(here, action, FOREIGN)
    if action.resource is ResourceKind.ALL_SITES:
        assert allowed(everywhere, action, ALL_SITES) == may
        assert not allowed(here, action, ALL_SITES)


@pytest.mark.parametrize("kind", PrincipalKind)
@pytest.mark.parametrize("role", Role)
def test_only_a_person_has_something_of_their_own(kind: PrincipalKind, role: Role) -> None:
    one = Principal(kind=kind, id="x", grants=(Grant.of_role(role, ("own.example",)),))
    is_person, reads = kind is PrincipalKind.PERSON, role is not COLLECT
    edits = role in (EDITOR, ADMIN, OWNER)

    assert PEOPLE_ACTIONS == (SAVE_OWN,)
    assert not any(action in PEOPLE_ACTIONS for action in ACTIONS)
    for resource in (ANYWHERE, OWN):
        assert allowed(one, SAVE_OWN, resource) == (is_person and reads)
        assert allowed(one, EDIT_SAVED, resource) == edits
        assert allowed(one, EDIT_SHARED_OR_OWN, resource) == (edits or (is_person and reads))
    for action in (SAVE_OWN, EDIT_SAVED, EDIT_SHARED_OR_OWN):
        assert not allowed(one, action, FOREIGN)


def test_a_single_action_of_that_name_gives_a_token_nothing() -> None:
    token = principal(Grant(actions=frozenset({"save_own", "view_saved"})))

    assert refusal(token, SAVE_OWN, OWN) == "This token has nothing of its own: only people who sign in have."
    assert refusal(token, EDIT_SHARED_OR_OWN, OWN) == refusal(token, EDIT_SAVED, OWN) != ""


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_a_refusal_says_why(action: Action) -> None:
    for role in (VIEWER, EDITOR, ADMIN, OWNER, COLLECT):
        assert bool(refusal(of_role(role), action, ANYWHERE)) == (role not in MAY[action.name])
    if action.resource is ResourceKind.SITE:
        assert "'foreign.example'" in refusal(of_role(ADMIN, "own.example"), action, FOREIGN)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_without_a_grant_nothing_is_allowed_or_covered(action: Action) -> None:
    nobody = principal()

    assert not any(allowed(nobody, action, resource) for resource in (ANYWHERE, ALL_SITES, OWN))
    assert not nobody.covers("own.example")
    assert not nobody.covers_all
    assert not nobody.may_collect


def test_a_right_on_one_site_is_none_on_another_where_the_principal_has_a_smaller_one() -> None:
    both = principal(Grant.of_role(ADMIN, ("own.example",)), Grant.of_role(VIEWER, ("foreign.example",)))

    for action in ACTIONS:
        if action.resource is ResourceKind.SITE:
            assert allowed(both, action, FOREIGN) == (VIEWER in MAY[action.name])
    assert both.collects_for == ("own.example",)
    assert both.sites == ("own.example", "foreign.example")


def test_a_single_action_allows_that_and_nothing_else() -> None:
    single = principal(Grant(actions=frozenset({"view_saved"}), sites=("own.example",)))

    assert [action for action in ACTIONS if allowed(single, action, ANYWHERE)] == [VIEW_SAVED]
    assert allowed(single, VIEW_SAVED, OWN)
    assert not allowed(single, VIEW_SAVED, FOREIGN)
    assert "view_saved" in refusal(single, ACTIONS[1], OWN)


@pytest.mark.parametrize(
    ("own", "wanted", "may"),
    [
        (Grant.of_role(ADMIN), Grant.of_role(ADMIN), True),
        (Grant.of_role(ADMIN), Grant.of_role(COLLECT, ("a",)), True),
        (Grant.of_role(ADMIN, ("a", "b")), Grant.of_role(ADMIN, ("a",)), True),
        (Grant.of_role(ADMIN, ("müller.example",)), Grant.of_role(VIEWER, ("xn--mller-kva.example",)), True),
        (Grant.of_role(ADMIN, ("a",)), Grant.of_role(VIEWER, ("a", "b")), False),
        (Grant.of_role(ADMIN, ("a",)), Grant.of_role(VIEWER), False),
        (Grant.of_role(ADMIN, ("a",)), Grant.of_role(ADMIN), False),
        (Grant.of_role(EDITOR), Grant.of_role(ADMIN, ("a",)), False),
        (Grant.of_role(VIEWER), Grant(actions=frozenset({"edit_saved"})), False),
        (Grant.of_role(VIEWER), Grant(actions=frozenset({"view_saved"})), True),
        (Grant(actions=frozenset({"manage_tokens"})), Grant.of_role(VIEWER, ("a",)), False),
    ],
)
def test_only_what_one_may_do_oneself_can_be_passed_on(own: Grant, wanted: Grant, may: bool) -> None:
    assert (excess(principal(own), [wanted]) == "") == may


@pytest.mark.parametrize(
    ("own_ms", "until_ms", "may"),
    [(0, 0, True), (0, 5, True), (5, 5, True), (5, 4, True), (5, 6, False), (5, 0, False)],
)
def test_what_is_passed_on_ends_no_later_than_who_passes_it_on(own_ms: int, until_ms: int, may: bool) -> None:
    giver = Principal(kind=PrincipalKind.TOKEN, id="x", grants=(Grant(role=OWNER),), expires_at_ms=own_ms)
    assert (excess(giver, [Grant(role=VIEWER)], until_ms=until_ms) == "") == may
    assert excess(giver, []) == ""
