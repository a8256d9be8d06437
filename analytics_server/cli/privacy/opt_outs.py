"""`analytics-server opt-out` and `erasure`: who is not stored any more, and what was erased."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import click

from analytics_server.access.actions import MANAGE_OPT_OUTS
from analytics_server.cli.audit import open_store, record
from analytics_server.cli.context import config_option, echo_json, json_option, read_config, run_async, with_store
from analytics_server.cli.privacy.person import user_of
from analytics_server.cli.running import OF_A_ROLE, answer_of, answered, server_beside, token_option, url_option
from analytics_server.config import Config
from analytics_server.http.audit import WHOLE_SERVER, SiteDetails
from analytics_server.model import stored_site_id
from analytics_server.privacy.erasure_jobs import ErasureJobs
from analytics_server.privacy.opt_outs import OptOuts
from analytics_server.privacy.routes import ErasuresAnswer, OptOutsAnswer, view_of
from analytics_server.privacy.user_hashes import UserHashes
from analytics_server.store import Store

T = TypeVar("T")

OPT_OUTS, ERASURES = "/api/v1/privacy/opt-outs", "/api/v1/privacy/erasures"


@click.group("opt-out")
def opt_out() -> None:
    """List, add and remove people of whom nothing is stored."""


@opt_out.command("list")
@config_option
@json_option
@url_option
@token_option
def opt_out_list(config_path: str | None, as_json: bool, url: str, token: str) -> None:
    """List who has opted out.

    A line is: keyed hash of the user, site (* for all), since when.
    """
    config = read_config(config_path)
    server = server_beside(config, url, token, needed=OF_A_ROLE)
    if server is not None:
        found = run_async(answered(server, "GET", OPT_OUTS, OptOutsAnswer)).opt_outs
    else:

        async def listed(store: Store, opt_outs: OptOuts) -> OptOutsAnswer:
            return OptOutsAnswer(opt_outs=opt_outs.of_sites(lambda site: True, all_sites=True))

        found = _offline(config, listed, f"GET {OPT_OUTS}").opt_outs
    if as_json:
        echo_json(found)
        return
    for each in found:
        click.echo(f"{each.user_hash}\t{each.site_id or '*'}\t{_moment(each.since_ms)}")


@opt_out.command("add")
@config_option
@click.argument("user_id")
@json_option
@url_option
@token_option
def opt_out_add(config_path: str | None, user_id: str, as_json: bool, url: str, token: str) -> None:
    """Store no events of USER_ID any more.

    On all sites; over HTTP on those of the token. What is stored already stays:
    `erase --opt-out` removes it too. USER_ID `-` is read from standard input.
    """
    config, user = read_config(config_path), user_of(user_id)
    server = server_beside(config, url, token, needed=OF_A_ROLE)
    if server is not None:
        added = run_async(answered(server, "POST", OPT_OUTS, OptOutsAnswer, {"user_id": user})).opt_outs
    else:

        async def add(store: Store, opt_outs: OptOuts) -> OptOutsAnswer:
            entries = await opt_outs.add(user, ())
            await _record(store, config, "opt-out add", opt_outs.hash_of(user), [entry.site_id for entry in entries])
            return OptOutsAnswer(opt_outs=entries)

        added = _offline(config, add, f"POST {OPT_OUTS}").opt_outs
    if as_json:
        echo_json(added)
        return
    for each in added:
        click.echo(f"{each.user_hash}\t{each.site_id or '*'}\t{_moment(each.since_ms)}")


@opt_out.command("remove")
@config_option
@click.argument("user_id")
@json_option
@url_option
@token_option
def opt_out_remove(config_path: str | None, user_id: str, as_json: bool, url: str, token: str) -> None:
    """Store events of USER_ID again.

    On all sites; over HTTP on those of the token. It is no error if the user is not
    on the list. USER_ID `-` is read from standard input.
    """
    config, user = read_config(config_path), user_of(user_id)
    server = server_beside(config, url, token, needed=OF_A_ROLE)
    if server is not None:

        async def ask() -> None:
            async with answer_of(server, "DELETE", OPT_OUTS, {"user_id": user}):
                pass

        run_async(ask())
    else:

        async def remove(store: Store, opt_outs: OptOuts) -> None:
            removed = await opt_outs.remove(user, ())
            await _record(store, config, "opt-out remove", opt_outs.hash_of(user), removed)

        _offline(config, remove, f"DELETE {OPT_OUTS}")
    if as_json:
        echo_json({"removed": True})
    else:
        click.echo("removed")


@click.group()
def erasure() -> None:
    """List the erasures of people."""


@erasure.command("list")
@config_option
@json_option
@url_option
@token_option
def erasure_list(config_path: str | None, as_json: bool, url: str, token: str) -> None:
    """List the erasures, the oldest first.

    A line is: id, keyed hash of the user, sites (* for all), when it was asked
    for, phase (done at the end), and how many rows were removed.
    """
    config = read_config(config_path)
    server = server_beside(config, url, token, needed=OF_A_ROLE)
    if server is not None:
        found = run_async(answered(server, "GET", ERASURES, ErasuresAnswer)).erasures
    else:

        async def listed(store: Store) -> ErasuresAnswer:
            jobs = ErasureJobs(store)
            await jobs.documents.load()
            return ErasuresAnswer(erasures=[view_of(job) for job in jobs.all()])

        found = _on_store(config, listed, f"GET {ERASURES}").erasures
    if as_json:
        echo_json(found)
        return
    for each in found:
        sites = "*" if each.sites is None else ",".join(each.sites)
        rows = "-" if each.certificate is None else str(sum(each.certificate.removed.values()))
        click.echo("\t".join((each.id, each.user_hash, sites, _moment(each.requested_at_ms), each.phase.value, rows)))


def _offline(config: Config, work: Callable[[Store, OptOuts], Awaitable[T]], route: str) -> T:
    async def on_store(store: Store) -> T:
        hashes = UserHashes(store)
        opt_outs = OptOuts(store, hashes)
        await hashes.load()
        await opt_outs.load()
        return await work(store, opt_outs)

    return _on_store(config, on_store, route)


def _on_store(config: Config, work: Callable[[Store], Awaitable[T]], route: str) -> T:
    done: list[T] = []

    async def on_store(store: Store) -> None:
        await open_store(store, config)
        done.append(await work(store))

    with_store(config, on_store, route=route)
    return done[0]


async def _record(store: Store, config: Config, command: str, user_hash: str, sites: Sequence[str]) -> None:
    """`sites`: of the entries of the list that were added or removed, "" where one was of all."""
    about: SiteDetails = {stored_site_id(site) if site else WHOLE_SERVER: {} for site in sites}
    details = {"user_hash": user_hash}
    await record(store, config, MANAGE_OPT_OUTS.name, command, rows=len(sites), details=details, sites=about)


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
