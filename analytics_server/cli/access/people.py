"""`analytics-server person`: list, add, change, sign out and remove people, and let them set a new password.

Passwords never pass the command line: `add` and `reset-password` print a link by which the person chooses one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import click
import msgspec

from analytics_server.access.people.accounts import (
    SITE_ROLES,
    Account,
    Accounts,
    Invitation,
    Rights,
    invitation_link,
)
from analytics_server.access.people.invitation_routes import shown_invitation
from analytics_server.access.people.parts import person_info, rights_of, role_details
from analytics_server.access.people.sessions import PersonSessions, SessionUse
from analytics_server.access.sites.sites import Sites
from analytics_server.cli.access.mail import check_may_send, send_option
from analytics_server.cli.access.mail import send as send_mail
from analytics_server.cli.audit import record
from analytics_server.cli.context import (
    config_option,
    echo_json,
    json_option,
    no_site,
    read_config,
    run_async,
    with_store,
)
from analytics_server.config import Config
from analytics_server.http.audit import SiteDetails
from analytics_server.listening import base_url
from analytics_server.mail.texts import MailText, invitation_text, reset_text
from analytics_server.spelling.email_address import valid_email
from analytics_server.store import Store, migrate

RESET_S = 86_400

rights_options = (
    click.option("--owner", is_flag=True, help="May do everything, on all sites."),
    click.option("--role", type=click.Choice([role.value for role in SITE_ROLES]), help="The role on each --site."),
    click.option("--site", "sites", multiple=True, help="A site of the role (can be repeated)."),
)


@dataclass(frozen=True, slots=True)
class _Done:
    """The id of a person or an invitation, and what has become of the rights on sites."""

    id: str = ""
    sites: SiteDetails = field(default_factory=dict)


@click.group()
def person() -> None:
    """List, invite, change and remove people who sign in."""


@person.command("list")
@config_option
@json_option
def person_list(config_path: str | None, as_json: bool) -> None:
    """List the people: id, e-mail, roles, second factor, name."""

    async def work(people: Accounts, config: Config, store: Store) -> None:
        if as_json:
            echo_json([person_info(each) for each in people.all()])
            return
        for each in people.all():
            factor = "code" if each.has_second_factor else "-"
            click.echo("\t".join((each.id, each.email, _roles(each.rights), factor, each.name)))

    _with_people(config_path, work, route="GET /api/v1/people")


@person.command("add")
@config_option
@click.argument("email")
@rights_options[0]
@rights_options[1]
@rights_options[2]
@click.option("--name", default="", help="The person's name.")
@send_option
@json_option
def person_add(
    config_path: str | None,
    email: str,
    owner: bool,
    role: str | None,
    sites: tuple[str, ...],
    name: str,
    send: bool,
    as_json: bool,
) -> None:
    """Invite a person: print a link, the only time it is shown."""
    address, rights = valid_email(email), _rights(owner, role, sites)
    sending = _Sending(config_path, invitation_text) if send else None

    async def work(people: Accounts, config: Config, store: Store) -> _Done:
        await _check_sites(store, config, rights)
        life_s = config.access.invitation_s
        made = await people.invite(address, name=name, rights=rights, life_s=life_s)
        shown = shown_invitation(made[0]) if as_json else None
        return _Done(_show_link(config, made, sending, shown).id, role_details(Rights(), rights))

    _with_people(config_path, work, "person add", route="POST /api/v1/invitations")
    if sending is not None:
        sending.finish(address)


@person.command("change")
@config_option
@click.argument("email")
@rights_options[0]
@rights_options[1]
@rights_options[2]
@json_option
def person_change(
    config_path: str | None, email: str, owner: bool, role: str | None, sites: tuple[str, ...], as_json: bool
) -> None:
    """Give a person other roles than those they have."""
    rights = _rights(owner, role, sites)

    async def work(people: Accounts, config: Config, store: Store) -> _Done:
        known = _known(people, email)
        await _check_sites(store, config, rights)
        people.check_owner_stays(known, rights)
        if rights.lacks(known.rights):
            await people.withdraw(known.email)
        changed = await people.change(known.id, lambda each: msgspec.structs.replace(each, rights=rights))
        now = changed or msgspec.structs.replace(known, rights=rights)
        if as_json:
            echo_json(person_info(now))
        else:
            click.echo(_roles(now.rights))
        return _Done(known.id, role_details(known.rights, now.rights))

    _with_people(config_path, work, "person change", route="PUT /api/v1/people/{person_id}")


@person.command("reset-password")
@config_option
@click.argument("email")
@click.option("--remove-totp", is_flag=True, help="Ask for no code any more: the second factor is lost.")
@send_option
@json_option
def person_reset_password(config_path: str | None, email: str, remove_totp: bool, send: bool, as_json: bool) -> None:
    """Print a link by which a password is set anew. Those of before are worth nothing any more."""
    sending = _Sending(config_path, reset_text) if send else None

    async def work(people: Accounts, config: Config, store: Store) -> _Done:
        known = _known(people, email)
        if remove_totp:
            await people.change(known.id, lambda each: msgspec.structs.replace(each, second_factor=None))
        await people.forget_resets(known.id)
        made = await people.invite(known.email, resets=known.id, life_s=RESET_S)
        shown = {"person_id": known.id, "email": known.email, "expires_at": made[0].expires_at} if as_json else None
        _show_link(config, made, sending, shown)
        return _Done(known.id)

    _with_people(
        config_path, work, "person reset-password", route="POST /api/v1/session/reset, which sends the link by mail"
    )
    if sending is not None:
        sending.finish(valid_email(email))


@person.command("sessions")
@config_option
@click.argument("email")
@json_option
def person_sessions(config_path: str | None, email: str, as_json: bool) -> None:
    """List a person's sessions: id, begin, last use, end."""

    async def work(people: Accounts, config: Config, store: Store) -> None:
        sessions = PersonSessions(store, people, config.access)
        found = await sessions.of_person(_known(people, email))
        if as_json:
            kept = [{"session_id": one.session_id, **_moments(one)} for one in found]
            echo_json(kept)
            return
        for one in found:
            click.echo("\t".join((one.session_id, *map(_shown, _moments(one).values()))))

    _with_people(config_path, work)


@person.command("sign-out")
@config_option
@click.argument("email")
@click.option("--session", "id_", help="Only the session of this id. Without it, all.")
@json_option
def person_sign_out(config_path: str | None, email: str, id_: str | None, as_json: bool) -> None:
    """End a person's sign-in sessions, on all servers."""

    async def work(people: Accounts, config: Config, store: Store) -> _Done:
        known, sessions = _known(people, email), PersonSessions(store, people, config.access)
        if id_ is None:
            await sessions.end_all(known.id)
        elif not await sessions.end_one(known.id, id_):
            raise click.ClickException(f"{email} has no session {id_[:64]!r}: person sessions lists them.")
        if as_json:
            echo_json({"person_id": known.id, "email": known.email, "session_id": id_, "signed_out": True})
        else:
            click.echo("signed out")
        return _Done(known.id)

    _with_people(config_path, work, "person sign-out")


@person.command("remove")
@config_option
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def person_remove(config_path: str | None, email: str, yes: bool, as_json: bool) -> None:
    """Delete a person; their sessions end."""
    address = valid_email(email)
    if not yes:
        click.confirm(f"Delete {address}?", abort=True, err=True)

    async def work(people: Accounts, config: Config, store: Store) -> _Done:
        known = _known(people, email)
        people.check_owner_stays(known, Rights())
        await people.withdraw(known.email)
        await people.remove(known.id)
        if as_json:
            echo_json({"person_id": known.id, "email": known.email, "removed": True})
        else:
            click.echo("removed")
        return _Done(known.id, role_details(known.rights, Rights()))

    _with_people(config_path, work, "person remove", route="DELETE /api/v1/people/{person_id}")


def _with_people(
    config_path: str | None,
    work: Callable[[Accounts, Config, Store], Awaitable[_Done | None]],
    operation: str = "",
    *,
    route: str = "",
) -> None:
    """Do it. What it returns is recorded as what the operation was done to.

    `route`: as `with_store` takes it.
    """
    config = read_config(config_path)

    async def on_store(store: Store) -> None:
        await store.open()
        await migrate(store, cluster=config.clickhouse.cluster)
        people = Accounts(store)
        await people.load()
        done = await work(people, config, store) or _Done()
        if operation:
            await record(store, config, "manage_people", operation, resource=done.id, sites=done.sites)

    with_store(config, on_store, route=route)


def _rights(owner: bool, role: str | None, sites: tuple[str, ...]) -> Rights:
    if bool(role) != bool(sites) or owner == bool(role):
        raise click.UsageError("Say --owner, or --role with at least one --site.")
    return rights_of(owner, dict.fromkeys(sites, role or ""))


async def _check_sites(store: Store, config: Config, rights: Rights) -> None:
    """Raises `NotFound` for a role on a site that does not exist."""
    sites = Sites(store, config.sites)
    await sites.load()
    for site_id in rights.roles:
        if sites.get(site_id) is None:
            raise no_site(site_id)


def _known(people: Accounts, email: str) -> Account:
    found = people.by_email(valid_email(email))
    if found is None:
        raise click.ClickException(f"There is no person with the address {email}.")
    return found


def _roles(rights: Rights) -> str:
    return "owner" if rights.owner else ",".join(f"{role}@{site}" for site, role in sorted(rights.roles.items()))


class _Sending:
    """Sends the link that a command has printed, once its work on the store is done and recorded."""

    def __init__(self, config_path: str | None, text: Callable[[str, str, float], MailText]) -> None:
        """Raises `ConfigError` where no mail can be sent, before anything is done."""
        self._config = read_config(config_path)
        check_may_send(self._config)
        self._text = text
        self._link = ""
        self._life_s = 0.0

    def take(self, link: str, invitation: Invitation) -> None:
        """What is to be sent."""
        self._link = link
        self._life_s = (invitation.expires_at - datetime.now(UTC)).total_seconds() + 1

    def finish(self, email: str) -> None:
        """Raises `MailNotSent`."""
        server = self._config.server.public_url.rstrip("/")
        run_async(send_mail(self._config, email, self._text(server, self._link, self._life_s)))
        click.echo("sent", err=True)


def _show_link(
    config: Config, made: tuple[Invitation, str], sending: _Sending | None, shown: Mapping[str, object] | None
) -> Invitation:
    """Print the link of an invitation, this once; with `shown`, what else JSON says of it, as JSON."""
    invitation, secret = made
    base = config.server.public_url.rstrip("/") or base_url(config.server.host, config.server.port)
    link = invitation_link(base, secret)
    if shown is None:
        click.echo(link)
    else:
        echo_json({**shown, "token": secret, "link": link})
    if sending is not None:
        sending.take(link, invitation)
    return invitation


def _moments(one: SessionUse) -> dict[str, int]:
    return {name: getattr(one, name) for name in ("created_at_ms", "last_used_at_ms", "ends_at_ms")}


def _shown(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
