"""`analytics-server invitation`: list the links by which people come to be, and take one back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import quote

import click

from analytics_server.access.actions import MANAGE_PEOPLE
from analytics_server.access.people.accounts import Accounts
from analytics_server.access.people.invitation_routes import InvitationInfo, InvitationsAnswer, shown_invitation
from analytics_server.cli.audit import open_store, record
from analytics_server.cli.context import config_option, echo_json, json_option, read_config, run_async, with_store
from analytics_server.cli.running import OF_A_ROLE, answer_of, answered, server_beside, token_option, url_option
from analytics_server.config import Config
from analytics_server.store import Store

ROUTE = "/api/v1/invitations"


@click.group()
def invitation() -> None:
    """List and revoke links by which people come to be, or set a new password."""


@invitation.command("list")
@config_option
@json_option
@url_option
@token_option
def invitation_list(config_path: str | None, as_json: bool, url: str, token: str) -> None:
    """List the links that were not used yet (never their secrets).

    A line is: id, e-mail, roles, end, name. A link that sets a new password has no
    roles.
    """
    config = read_config(config_path)
    server = server_beside(config, url, token, needed=OF_A_ROLE)
    found: list[InvitationInfo] = []
    if server is not None:
        found += run_async(answered(server, "GET", ROUTE, InvitationsAnswer)).invitations
    else:

        async def work(store: Store, people: Accounts) -> None:
            found.extend(InvitationInfo(**shown_invitation(each)) for each in people.invitations())

        _with_people(config, work, f"GET {ROUTE}")
    if as_json:
        echo_json(found)
        return
    for each in found:
        roles = ",".join(f"{role}@{site}" for site, role in sorted(each.roles.items()))
        shown = "owner" if each.owner else roles or "-"
        click.echo("\t".join((each.invitation_id, each.email, shown, f"{each.expires_at:%Y-%m-%dT%H:%MZ}", each.name)))


@invitation.command("revoke")
@config_option
@click.argument("invitation_id")
@json_option
@url_option
@token_option
def invitation_revoke(config_path: str | None, invitation_id: str, as_json: bool, url: str, token: str) -> None:
    """Take a link back by its id (see invitation list).

    \b
    Exit code: 0 done, 1 there is none of that id.
    """
    config = read_config(config_path)
    server = server_beside(config, url, token, needed=OF_A_ROLE)
    if server is not None:

        async def ask() -> None:
            async with answer_of(server, "DELETE", f"{ROUTE}/{quote(invitation_id, safe='')}"):
                pass

        run_async(ask())
    else:

        async def work(store: Store, people: Accounts) -> None:
            known = any(each.id == invitation_id for each in people.invitations())
            if not known or not await people.uninvite(invitation_id):
                raise click.ClickException(f"There is no invitation of the id {invitation_id[:64]}.")
            await record(store, config, MANAGE_PEOPLE.name, "invitation revoke", resource=invitation_id)

        _with_people(config, work, f"DELETE {ROUTE}/{{invitation_id}}")
    if as_json:
        echo_json({"invitation_id": invitation_id, "revoked": True})
    else:
        click.echo("revoked")


def _with_people(config: Config, work: Callable[[Store, Accounts], Awaitable[None]], route: str) -> None:
    async def on_store(store: Store) -> None:
        await open_store(store, config)
        people = Accounts(store)
        await people.load()
        await work(store, people)

    with_store(config, on_store, route=route)
