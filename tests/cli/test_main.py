"""The commands: what they print, what they change, and errors of one line."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

from analytics_server import __version__
from analytics_server.access.people.accounts import Accounts, Rights
from analytics_server.access.people.sessions import PersonSessions
from analytics_server.archive.roots import ArchiveRoots
from analytics_server.cli.main import cli
from analytics_server.config import AccessSection, ClickhouseSection, Config, ServerSection
from analytics_server.errors import AnalyticsError, ConfigError
from analytics_server.ingest.flush import dead_letters
from analytics_server.ingest.wal.recovery import LOCK
from analytics_server.model import Site
from analytics_server.store import make_store, migrate
from tests.ingest.rows import row
from tests.whole import complete_server


class Commands:
    """Runs commands in this process, against the engine that all tests of this process share."""

    def __init__(self, directory: Path, embedded_path: Path) -> None:
        self._runner = CliRunner()
        self.environment = {
            "ANALYTICS_SERVER_DATA_DIR": str(directory),
            "ANALYTICS_CLICKHOUSE_URL": f"chdb://{embedded_path}",
        }

    def __call__(self, *arguments: str, **environment: str) -> Result:
        return self._runner.invoke(cli, arguments, env=self.environment | environment)

    def lines(self, *arguments: str) -> list[str]:
        done = self(*arguments)
        assert done.exit_code == 0, done.output
        return done.stdout.splitlines()


@pytest.fixture
def run(tmp_path: Path, embedded_tables: Path) -> Commands:
    return Commands(tmp_path, embedded_tables)


COMMANDS = [
    (),
    ("serve",),
    ("healthcheck",),
    ("mcp",),
    ("migrate",),
    ("check-config",),
    ("doctor",),
    ("export",),
    ("erase",),
    ("audit",),
    ("audit", "verify"),
    ("audit", "export"),
    ("audit", "retire"),
    ("site",),
    ("site", "list"),
    ("site", "create"),
    ("site", "show"),
    ("site", "set"),
    ("site", "remove"),
    ("token",),
    ("token", "list"),
    ("token", "create"),
    ("token", "revoke"),
    ("share",),
    ("share", "list"),
    ("share", "create"),
    ("share", "revoke"),
    ("person",),
    ("person", "list"),
    ("person", "add"),
    ("person", "change"),
    ("person", "reset-password"),
    ("person", "sessions"),
    ("person", "sign-out"),
    ("person", "remove"),
    ("invitation",),
    ("invitation", "list"),
    ("invitation", "revoke"),
    ("opt-out",),
    ("opt-out", "list"),
    ("opt-out", "add"),
    ("opt-out", "remove"),
    ("erasure",),
    ("erasure", "list"),
    ("mail",),
    ("mail", "test"),
    ("dead-letters",),
    ("dead-letters", "list"),
    ("dead-letters", "export"),
    ("dead-letters", "retry"),
    ("privacy-report",),
    ("expire",),
    ("export-data",),
    ("archive",),
    ("archive", "list"),
    ("archive", "forget"),
    ("demo",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_explains_itself(run: Commands, command: tuple[str, ...], option: str) -> None:
    shown = "\n".join(run.lines(*command, option))

    assert shown.startswith("Usage: ")
    assert len(shown.splitlines()) >= 5


@pytest.mark.parametrize(
    "group",
    [
        (),
        ("site",),
        ("token",),
        ("share",),
        ("person",),
        ("mail",),
        ("dead-letters",),
        ("archive",),
        ("opt-out",),
        ("erasure",),
    ],
    ids=" ".join,
)
def test_the_list_of_commands_says_each_in_a_whole_sentence(run: Commands, group: tuple[str, ...]) -> None:
    listed = run.lines(*group, "--help")

    assert [line for line in listed[1:] if line.endswith("...")] == []


def test_no_command_is_missing_above(run: Commands) -> None:
    known = {command[0] for command in COMMANDS if command}

    assert isinstance(cli, click.Group)
    assert set(cli.list_commands(click.Context(cli))) == known


def test_the_version(run: Commands) -> None:
    assert run.lines("--version") == [f"analytics-server, version {__version__}"]


def test_sites_are_made_listed_and_changed(run: Commands) -> None:
    assert run.lines("site", "list") == []
    assert run.lines("site", "create", "a.example", "--timezone", "Europe/Stockholm") == ["a.example\tEurope/Stockholm"]
    assert run.lines("site", "create", "b.example") == ["b.example\tUTC"]
    assert run.lines("site", "create", "b.example", "--timezone", "Asia/Tokyo") == ["b.example\tAsia/Tokyo"]
    assert run.lines("site", "list") == ["a.example\tEurope/Stockholm", "b.example\tAsia/Tokyo"]
    made = msgspec.json.decode(run("site", "create", "c.example", "--json").stdout, type=Site)
    sites = msgspec.json.decode(run("site", "list", "--json").stdout, type=list[Site])
    assert [(site.site_id, site.timezone) for site in sites[:2]] == [
        *(("a.example", "Europe/Stockholm"), ("b.example", "Asia/Tokyo")),
    ]
    assert sites[2] == made


def test_a_site_s_settings_are_changed_and_shown(run: Commands) -> None:
    run.lines("site", "create", "a.example")
    rules = ("--exclude-path", "/admin/**", "--exclude-path", "/x", "--exclude-country", "Germany")

    changed = run("site", "set", "A.example", "--currency", "eur", "--events-per-s", "5", *rules)
    emptied = run("site", "set", "a.example", "--exclude-path", "")
    shown = run("site", "show", "a.example")

    site = msgspec.json.decode(changed.stdout, type=Site)
    assert (site.currency, site.events_per_s) == ("EUR", 5)
    assert (site.excluded_paths, site.excluded_countries) == (("/admin/**", "/x"), ("DE",))
    assert msgspec.json.decode(emptied.stdout, type=Site) == msgspec.structs.replace(site, excluded_paths=())
    assert shown.stdout == emptied.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("--exclude-path", "admin"), 2, "a path begins with a slash"),
        (("--timezone", "X/Y"), 2, "X/Y"),
        (("--events-per-s", "-1"), 2, "events_per_s"),
        ((), 2, "Nothing is to be changed"),
    ],
)
def test_a_bad_setting_is_refused(run: Commands, arguments: tuple[str, ...], exit_code: int, words: str) -> None:
    run.lines("site", "create", "a.example")

    refused = run("site", "set", "a.example", *arguments)

    assert refused.exit_code == exit_code
    assert words in refused.output + str(refused.exception)


@pytest.mark.parametrize("arguments", [("show", "b.example"), ("set", "b.example", "--currency", "EUR")])
def test_settings_of_a_site_that_does_not_exist_are_refused(run: Commands, arguments: tuple[str, ...]) -> None:
    refused = run("site", *arguments)

    assert refused.exit_code == 1
    assert "There is no site 'b.example'" in str(refused.exception)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("site", "create", "no spaces"), "no spaces"), (("site", "create", "a", "--timezone", "X/Y"), "X/Y")],
)
def test_a_bad_site_is_refused(run: Commands, arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments)

    assert done.exit_code == 2
    assert words in done.stderr
    assert run.lines("site", "list") == []


def test_tokens_are_shown_once_listed_without_secret_and_revoked(run: Commands) -> None:
    (token,) = run.lines("token", "create", "--role", "admin", "--name", "mine")
    (limited,) = run.lines("token", "create", "--site", "a.example", "--site", "b.example")
    listed = [line.split("\t") for line in run.lines("token", "list")]

    assert token.startswith("ast_")
    assert token != limited
    assert [line[1:] for line in listed] == [
        ["admin", "*", "mine", "-", "-", "-"],
        ["read", "a.example,b.example", "", "-", "-", "-"],
    ]
    assert not any(token in field or limited in field for line in listed for field in line)
    assert run.lines("token", "revoke", listed[0][0]) == ["revoked"]
    assert [line.split("\t")[1] for line in run.lines("token", "list")] == ["read"]
    gone = run("token", "revoke", listed[0][0])
    assert gone.exit_code == 1
    assert "There is no token" in gone.output

    made = msgspec.json.decode(run("token", "create", "--role", "collect", "--name", "json", "--json").stdout)
    shown = msgspec.json.decode(run("token", "list", "--json").stdout)
    assert made.pop("token").startswith("ast_")
    assert made in shown
    assert (made["role"], made["name"], made["last_used_on"], len(shown)) == ("collect", "json", None, 2)
    ended = msgspec.json.decode(run("token", "revoke", made["token_id"], "--json").stdout)
    assert ended == {"token_id": made["token_id"], "revoked": True}
    assert len(msgspec.json.decode(run("token", "list", "--json").stdout)) == 1


def test_people_are_invited_and_reset_by_links_without_a_password_on_the_command_line(run: Commands) -> None:
    run.lines("site", "create", "a.example")
    (link,) = run.lines("person", "add", "Anna@example.org", "--role", "editor", "--site", "a.example")
    assert link.startswith("http://127.0.0.1:8000/dashboard#invitation=asi_")
    assert run.lines("person", "list") == []  # not before the link is opened
    assert msgspec.json.decode(run("person", "list", "--json").stdout) == []
    for arguments in (("--owner", "--role", "editor", "--site", "a.example"), ("--role", "editor"), ()):
        assert run("person", "add", "anna@example.org", *arguments).exit_code == 2
    for command in (("reset-password",), ("remove", "--yes"), ("sessions",), ("sign-out",), ("change", "--owner")):
        unknown = run("person", command[0], "nobody@example.org", *command[1:])
        assert unknown.exit_code == 1
        assert "There is no person" in unknown.output


def test_directories_of_files_of_days_are_listed_and_forgotten(run: Commands, tmp_path: Path) -> None:
    lakes = [tmp_path / name for name in ("lake", "lake2")]
    assert run.lines("archive", "list") == []
    first, second = [asyncio.run(_archived_in(run, lake)) for lake in lakes]

    assert run.lines("archive", "list") == sorted([f"{first}\t{lakes[0]}\t1", f"{second}\t{lakes[1]}\t1"])
    assert run.lines("archive", "forget", first) == []
    assert run.lines("archive", "list") == [f"{second}\t{lakes[1]}\t1"]
    again = run("archive", "forget", first)
    assert isinstance(again.exception, AnalyticsError)
    assert again.exception.message == f"There is no directory of files of days with the id '{first}'."


async def _archived_in(run: Commands, lake: Path) -> str:
    """The id of a directory, in which one site has files."""
    (lake / "site=a.example").mkdir(parents=True)
    settings = run.environment
    clickhouse = ClickhouseSection(url=settings["ANALYTICS_CLICKHOUSE_URL"])
    store = make_store(Config(clickhouse=clickhouse))
    await store.open()
    roots = ArchiveRoots(store)
    await roots.load()
    id_ = await roots.settle(lake)
    await store.close()
    return id_


async def add_person(run: Commands, email: str, rights: Rights) -> None:
    """A person with three sessions."""
    names = run.environment
    section = ClickhouseSection(url=names["ANALYTICS_CLICKHOUSE_URL"])
    store = make_store(Config(server=ServerSection(data_dir=names["ANALYTICS_SERVER_DATA_DIR"]), clickhouse=section))
    await store.open()
    await migrate(store)
    people = Accounts(store)
    person = await people.add(email, name="", rights=rights, password_hash="x")
    for _ in range(3):
        await PersonSessions(store, people, AccessSection()).begin(person, time.time_ns() // 1_000_000)
    await store.close()


def test_a_persons_sessions_are_listed_and_ended_one_by_one_or_all(run: Commands) -> None:
    asyncio.run(add_person(run, "anna@example.org", Rights(owner=True)))
    asyncio.run(add_person(run, "ben@example.org", Rights(owner=True)))
    listed = [line.split("\t") for line in run.lines("person", "sessions", "anna@example.org")]
    assert [len(line) for line in listed] == [4, 4, 4]
    assert run("person", "sign-out", "ben@example.org", "--session", listed[0][0]).exit_code == 1
    assert run.lines("person", "sign-out", "anna@example.org", "--session", listed[0][0]) == ["signed out"]
    left = json.loads(run("person", "sessions", "anna@example.org", "--json").stdout)
    assert {one["session_id"] for one in left} == {line[0] for line in listed[1:]}
    assert run.lines("person", "sign-out", "anna@example.org") == ["signed out"]
    assert run.lines("person", "sessions", "anna@example.org") == []
    assert len(run.lines("person", "sessions", "ben@example.org")) == 3


def test_the_last_owner_is_neither_removed_nor_made_less(run: Commands) -> None:
    for email in ("anna@example.org", "ben@example.org"):
        asyncio.run(add_person(run, email, Rights(owner=True)))
    assert run.lines("person", "remove", "ben@example.org", "--yes") == ["removed"]
    run.lines("site", "create", "a")
    for command in (
        ("remove", "anna@example.org", "--yes"),
        ("change", "anna@example.org", "--role", "admin", "--site", "a"),
    ):
        refused = run("person", *command)
        assert refused.exit_code
        assert "last owner" in refused.output + str(refused.exception)
    assert [line.split("\t")[1:3] for line in run.lines("person", "list")] == [["anna@example.org", "owner"]]


def test_a_role_on_a_site_that_does_not_exist_is_given_to_nobody(run: Commands) -> None:
    asyncio.run(add_person(run, "anna@example.org", Rights(owner=True)))
    asyncio.run(add_person(run, "ben@example.org", Rights(owner=True)))
    role = ("--role", "viewer", "--site", "nosuch.example")

    for command in (("add", "carl@example.org"), ("change", "ben@example.org")):
        refused = run("person", *command, *role)
        assert refused.exit_code == 1
        assert "There is no site 'nosuch.example'" in str(refused.exception)

    assert run.lines("invitation", "list") == []
    assert [line.split("\t")[2] for line in run.lines("person", "list")] == ["owner", "owner"]


def test_a_person_is_removed_when_that_is_confirmed(run: Commands) -> None:
    for email in ("anna@example.org", "ben@example.org"):
        asyncio.run(add_person(run, email, Rights(owner=True)))

    refused = run("person", "remove", "Ben@example.org")

    assert (refused.exit_code, refused.stdout, "Delete ben@example.org?" in refused.stderr) == (1, "", True)
    assert len(run.lines("person", "list")) == 2
    assert run.lines("person", "remove", "ben@example.org", "--yes") == ["removed"]
    assert len(run.lines("person", "list")) == 1


def test_a_token_may_have_several_scopes_and_an_end(run: Commands) -> None:
    run.lines("token", "create", "--scope", "collect", "--scope", "view_drops", "--expires", "2099-12-31")

    assert [line.split("\t")[1:] for line in run.lines("token", "list")] == [
        ["collect,view_drops", "*", "", "2099-12-31T00:00Z", "-", "-"]
    ]


def test_a_token_may_have_a_threshold(run: Commands) -> None:
    for least in ("2", "1000"):
        run.lines("token", "create", "--threshold", least)
    for least in ("1", "1001"):
        assert run("token", "create", "--threshold", least).exit_code == 2

    assert [line.split("\t")[1:] for line in run.lines("token", "list")] == [
        ["read", "*", "", "-", "-", least] for least in ("2", "1000")
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--scope", "fly"), "view_drops"),
        (("--scope", "read", "--role", "read"), "either role or scopes"),
        (("--role", "editor", "--threshold", "5"), "only reads"),
        (("--expires", "2020-01-01"), "past"),
        (("--expires", "tomorrow"), "no date"),
    ],
)
def test_a_token_that_can_not_be_is_refused(run: Commands, arguments: tuple[str, ...], told: str) -> None:
    done = run("token", "create", *arguments)

    assert done.exit_code
    assert told in done.output + str(done.exception)


def test_an_unknown_role_is_refused_with_the_choices(run: Commands) -> None:
    done = run("token", "create", "--role", "owner")

    assert done.exit_code == 2
    assert all(role in done.output for role in ("read", "collect", "admin"))


def test_migrating_twice_applies_nothing_the_second_time(run: Commands) -> None:
    run.environment["ANALYTICS_CLICKHOUSE_DATABASE"] = "empty"
    first, second = run.lines("migrate"), run.lines("migrate")

    assert first[0] == "applied 0001_create_events"
    assert len(second) == 1
    assert second[0].startswith("0 applied; the schema is up to date (embedded")


def test_what_commands_change_is_in_the_audit_log(run: Commands, tmp_path: Path) -> None:
    run.lines("migrate")
    run.lines("demo", "--sessions", "1", "--days", "1", "--site", "made-up.example")
    run.lines("site", "set", "made-up.example", "--currency", "EUR")
    refused = {0: dead_letters.Cause(error="StoreBadRows")}
    rows = [row(site_id="made-up.example")]
    dead_letters.write_rows(tmp_path / "dead-letters", 77 << 22, 1, refused, rows, 1_700_000_000.0)
    assert run("dead-letters", "retry", "--all").exit_code == 0
    run("doctor", "--repair")
    run.lines("site", "remove", "made-up.example", "--data", "erase", "--yes")

    entries = [msgspec.json.decode(line) for line in run.lines("audit", "export")]

    told = {entry.get("operation", ""): entry for entry in entries}
    changes = ("migrate", "demo", "site set", "dead-letters retry", "doctor --repair", "site remove")
    assert set(changes) <= told.keys()
    assert all(told[change]["principal_id"] == "cli" for change in changes)
    assert {told[change].get("site_id") for change in ("demo", "site set", "site remove")} == {"made-up.example"}
    assert told["dead-letters retry"]["rows"] == 1
    gone = [entry for entry in entries if entry["action"] == "erase_site"]
    assert [entry["details"]["state"] for entry in gone] == ["begun", "done"]
    assert gone[0]["details"]["events"] == str(told["demo"]["rows"] + 1)


ROUTES = {
    ("migrate",): "",
    ("archive", "list"): "",
    ("site", "list"): "GET /api/v1/sites",
    ("site", "create", "a.example"): "POST /api/v1/sites",
    ("site", "show", "a.example"): "GET /api/v1/sites/{site_id}",
    ("site", "set", "a.example", "--public"): "PUT /api/v1/sites/{site_id}",
    ("site", "remove", "a.example", "--yes"): "DELETE /api/v1/sites/{site_id}",
    ("token", "list"): "GET /api/v1/tokens",
    ("token", "create"): "POST /api/v1/tokens",
    ("token", "revoke", "x"): "DELETE /api/v1/tokens/{token_id}",
    ("share", "list"): "GET /api/v1/share-links",
    ("share", "create", "a.example"): "POST /api/v1/share-links",
    ("share", "revoke", "x"): "DELETE /api/v1/share-links/{link_id}",
    ("person", "list"): "GET /api/v1/people",
    ("person", "add", "a@example.org", "--owner"): "POST /api/v1/invitations",
    ("person", "change", "a@example.org", "--owner"): "PUT /api/v1/people/{person_id}",
    ("person", "reset-password", "a@example.org"): "POST /api/v1/session/reset",
    ("person", "sessions", "a@example.org"): "",
    ("person", "sign-out", "a@example.org"): "",
    ("person", "remove", "a@example.org", "--yes"): "DELETE /api/v1/people/{person_id}",
    ("privacy-report", "a.example"): "GET /api/v1/privacy/report",
}
"""What each command is told to ask instead; empty where the API has nothing of the kind."""


@pytest.mark.parametrize("command", ROUTES, ids=" ".join)
def test_a_running_server_keeps_its_engine_and_one_line_says_so(
    run: Commands, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "wal").mkdir()
    held = os.open(tmp_path / "wal" / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = run(*command)
    finally:
        os.close(held)

    assert isinstance(done.exception, AnalyticsError)
    assert done.exception.code == "server_running"
    instead = f", or ask it over HTTP: {ROUTES[command]}" if ROUTES[command] else "."
    assert f"A server is running on {tmp_path} and owns the database there. Stop it first{instead}" in (
        done.exception.message
    )
    assert done.output == ""


def test_the_routes_that_commands_name_exist() -> None:
    there = {" ".join(one.route) for one in complete_server().endpoints()}

    assert {route for route in ROUTES.values() if route} <= there


def test_check_config_prints_what_results(run: Commands) -> None:
    done = run(
        "check-config",
        ANALYTICS_SERVER_PORT="8123",
        ANALYTICS_CLICKHOUSE_URL="http://user:umbrella@host:8123/db",
        ANALYTICS_OIDC_CLIENT_SECRET="umbrella",
    )

    assert done.exit_code == 0
    assert "[server]" in done.stdout
    assert "port = 8123" in done.stdout.splitlines()
    assert "umbrella" not in done.output
    assert "The configuration is valid." in done.stderr


def test_check_config_refuses_a_mistake(run: Commands, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[server]\nprot = 1\n")
    by_option = run("check-config", "--config", str(tmp_path / "c.toml"))
    by_environment = run("check-config", ANALYTICS_CONFIG=str(tmp_path / "c.toml"))

    for done in (by_option, by_environment):
        assert done.exit_code == 1
        assert isinstance(done.exception, ConfigError)
        assert "'port'" in done.exception.message


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("ANALYTICS_SERVER_TRUSTED_PROXIES", "10.0.0.0/8,banana", "[server] trusted_proxies: 'banana'"),
        ("ANALYTICS_CLICKHOUSE_URL", "postgres://host/db", "[clickhouse] url = postgres://"),
        ("ANALYTICS_CLICKHOUSE_URL", "http://host:port/db", "[clickhouse] url is no address"),
    ],
)
def test_check_config_refuses_what_a_start_would(run: Commands, variable: str, value: str, named: str) -> None:
    done = run("check-config", **{variable: value})

    assert done.exit_code == 1
    assert isinstance(done.exception, ConfigError)
    assert named in done.exception.message
    assert done.output == ""
