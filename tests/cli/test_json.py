"""What commands that change something print with `--json`: one document, with every secret that the text shows once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analytics_server.access.people.accounts import Rights
from analytics_server.access.people.parts import PersonInfo
from analytics_server.audit.chain import ChainHead
from analytics_server.audit.seals import SealKeyFile, Seals
from analytics_server.config import ClickhouseSection, Config, ServerSection
from analytics_server.store import Store, make_store, migrate
from tests.audit.conftest import DAY_US, Clock
from tests.audit.test_expiry import a_year
from tests.cli.test_main import Commands, add_person, run
from tests.mail.smtp import SmtpServer
from tests.mail.smtp import running as mail_running

__all__ = ["run"]

LINK = "http://127.0.0.1:8000/dashboard#invitation="
ENTRIES = 5
KEEP_DAYS = 400


def document(run: Commands, *arguments: str, **environment: str) -> Any:
    """All that a command prints to standard output with `--json`, which must be one document."""
    done = run(*arguments, "--json", **environment)
    assert done.exit_code == 0, done.output
    return msgspec.json.decode(done.stdout)


def people(run: Commands) -> list[PersonInfo]:
    return msgspec.convert(document(run, "person", "list"), list[PersonInfo])


@pytest.mark.parametrize(
    "command",
    [
        ("site", "show", "a.example"),
        ("site", "set", "a.example", "--currency", "EUR"),
        ("privacy-report", "a.example"),
        ("export", "u-1"),
        ("audit", "export", "--to", "2020-01-01"),
        ("dead-letters", "export", "--all"),
    ],
    ids=" ".join,
)
def test_what_is_json_anyway_is_the_same_with_the_option(run: Commands, command: tuple[str, ...]) -> None:
    run.lines("site", "create", "a.example")

    plain, asked = run(*command), run(*command, "--json")

    assert (asked.exit_code, plain.exit_code) == (0, 0), asked.output
    changing = (b'"generated_at"', b'"made_at"', b'"sha256"', b'"removals"')
    lines = [
        [line for line in done.stdout_bytes.splitlines() if not any(name in line for name in changing)]
        for done in (plain, asked)
    ]
    assert lines[0] == lines[1]


def test_an_invitation_is_shown_with_its_link_and_secret(run: Commands) -> None:
    run.lines("site", "create", "a.example")
    role = ("--role", "editor", "--site", "a.example")
    made = document(run, "person", "add", "Anna@example.org", "--name", "Anna", *role)

    assert made.pop("link") == LINK + made["token"]
    assert made.pop("token").startswith("asi_")
    assert made.pop("expires_at").endswith("Z")
    assert len(made.pop("invitation_id")) == 12
    assert made.pop("created_at_ms") > 1_700_000_000_000
    assert made == {"email": "anna@example.org", "name": "Anna", "owner": False, "roles": {"a.example": "editor"}}


def test_a_link_that_is_sent_is_in_the_document_too_and_that_it_was_sent_is_told_beside_it(run: Commands) -> None:
    with mail_running(SmtpServer()) as smtp:
        where = {"ANALYTICS_MAIL_HOST": "127.0.0.1", "ANALYTICS_MAIL_PORT": str(smtp.port)}
        mail = where | {"ANALYTICS_MAIL_TLS": "none", "ANALYTICS_MAIL_SENDER": "stats@example.com"}
        public = {"ANALYTICS_SERVER_PUBLIC_URL": "https://stats.example.com"}
        done = run("person", "add", "ben@example.org", "--owner", "--send", "--json", **mail, **public)

    assert done.exit_code == 0, done.output
    made = msgspec.json.decode(done.stdout)
    assert (made["owner"], made["roles"], done.stderr) == (True, {}, "sent\n")
    assert smtp.taken[-1].link == made["link"]
    assert made["link"].startswith("https://stats.example.com/dashboard#invitation=asi_")


def test_a_person_is_changed_reset_signed_out_and_removed(run: Commands) -> None:
    run.lines("site", "create", "a.example")
    for email in ("anna@example.org", "ben@example.org"):
        asyncio.run(add_person(run, email, Rights(owner=True)))
    (ben,) = [each for each in people(run) if each.email == "ben@example.org"]
    named = {"person_id": ben.person_id, "email": "ben@example.org"}

    changed = document(run, "person", "change", "Ben@example.org", "--role", "viewer", "--site", "a.example")
    reset = document(run, "person", "reset-password", "ben@example.org")
    first, *others = document(run, "person", "sessions", "ben@example.org")
    one = document(run, "person", "sign-out", "ben@example.org", "--session", first["session_id"])
    left = document(run, "person", "sessions", "ben@example.org")
    every = document(run, "person", "sign-out", "ben@example.org")

    assert msgspec.convert(changed, PersonInfo) in people(run)
    assert (changed["person_id"], changed["owner"], changed["roles"]) == (ben.person_id, False, {"a.example": "viewer"})
    assert reset.pop("link") == LINK + reset["token"]
    assert reset.pop("token").startswith("asi_")
    assert reset.pop("expires_at") > time.strftime("%Y-%m-%dT%H", time.gmtime())
    assert reset == named
    assert one == {**named, "session_id": first["session_id"], "signed_out": True}
    assert left == others
    assert every == {**named, "session_id": None, "signed_out": True}
    assert document(run, "person", "sessions", "ben@example.org") == []
    assert document(run, "person", "remove", "ben@example.org", "--yes") == {**named, "removed": True}
    assert [each.email for each in people(run)] == ["anna@example.org"]


@pytest.mark.parametrize("data", ["keep", "erase"])
def test_a_site_is_removed(run: Commands, data: str) -> None:
    run.lines("site", "create", "a.example")

    assert document(run, "site", "remove", "A.example", "--data", data, "--yes") == {
        "site_id": "a.example",
        "data": data,
        "removed": True,
    }
    assert document(run, "site", "list") == []


def test_the_chain_of_a_gone_server_is_retired(run: Commands, tmp_path: Path) -> None:
    gone = asyncio.run(a_gone_server(run, tmp_path / "gone"))
    broken = asyncio.run(a_gone_server(run, tmp_path / "broken", without=2))
    SealKeyFile(tmp_path).make(Seals())
    refused = run("audit", "retire", gone.server, "--json")

    done = document(run, "audit", "retire", gone.server, "--yes")
    accepted = document(run, "audit", "retire", broken.server, "--yes", "--accept-broken")

    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "gone for good" in refused.stderr
    assert done == {"chain": gone.server, "last": ENTRIES, "hash": gone.hash, "broken": None, "removed": True}
    assert (accepted["chain"], accepted["broken"]["sequence"], accepted["broken"]["fault"]) == (
        broken.server,
        2,
        "removed",
    )
    assert document(run, "audit", "verify")["ok"]


async def a_gone_server(run: Commands, directory: Path, *, without: int = 0) -> ChainHead:
    """The end of a chain that was written as long ago as entries are kept; `without` this entry."""
    store = store_of(run)
    await store.open()
    await migrate(store)
    log = await a_year(store, directory, Clock(time.time_ns() // 1_000 - (KEEP_DAYS + 50) * DAY_US), days=ENTRIES)
    if without:
        await store.command(
            f"ALTER TABLE audit DELETE WHERE server = '{log.head.server}' AND sequence = {without}"
            " SETTINGS mutations_sync = 2"
        )
    await store.close()
    return log.head


def store_of(run: Commands) -> Store:
    names = run.environment
    section = ClickhouseSection(url=names["ANALYTICS_CLICKHOUSE_URL"])
    return make_store(Config(server=ServerSection(data_dir=names["ANALYTICS_SERVER_DATA_DIR"]), clickhouse=section))
