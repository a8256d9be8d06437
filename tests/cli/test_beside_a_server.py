"""Commands beside a running server that has ClickHouse in process: they ask it, and say how where they can't."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analytics_server.audit.verify import VerifyReport
from tests.server import Client, RunningServer

pytestmark = pytest.mark.timeout(200)
OLD, OLD_EVENTS = "old.example", 3
CHAINS = ("gone", "broken")
ENTRIES = 5

MAKE_OLD = f"""
import asyncio, sys, time
from pathlib import Path
from analytics_server.audit.chain import SERVER_CHAIN
from analytics_server.audit.log import AuditLog
from analytics_server.cli.context import read_config, with_store
from analytics_server.http.audit import AuditEntry
config, folder = read_config(None), Path(sys.argv[1])

async def work(store):
    await store.open()
    for name in {CHAINS}:
        moment = iter(range(time.time_ns() // 1_000 - 500 * 86_400_000_000, 2**63, 1_000_000))
        log = AuditLog(store, folder / name, SERVER_CHAIN, clock=lambda: next(moment))
        await log.open()
        for _ in range({ENTRIES}):
            log.note(AuditEntry(action="query_site"))
        await log.close()
        print(log.head.server)
    of_broken = f"server = '{{log.head.server}}' AND sequence = 2"
    await store.command(f"ALTER TABLE audit DELETE WHERE {{of_broken}} SETTINGS mutations_sync = 2")
    await store.command(
        "INSERT INTO events (site_id, ts, batch_id, event_id) SELECT '{OLD}', now() - toIntervalDay(100), 1,"
        " generateUUIDv4() FROM numbers({OLD_EVENTS})"
    )

with_store(config, work)
"""
"""In the stopped server's database: chains of two servers that are gone, one broken, and events of long ago."""


class Beside:
    """A running server, and commands with its settings."""

    def __init__(self, server: RunningServer, chains: dict[str, str]) -> None:
        self.server = server
        self.chains = chains

    def __call__(self, *arguments: str, typed: str = "", **changes: str) -> subprocess.CompletedProcess[str]:
        return self.server.command(*arguments, typed=typed, **changes)

    def document(self, *arguments: str) -> Any:
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return msgspec.json.decode(done.stdout)


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    directory = tmp_path_factory.mktemp("beside")
    server = RunningServer(directory, {"sites_default_timezone": "UTC"})
    with server:
        assert server.terminate() == 0
    made = subprocess.run(
        [sys.executable, "-c", MAKE_OLD, str(directory)],
        env=server.environment(),
        stdout=subprocess.PIPE,
        text=True,
        timeout=100,
        check=True,
    )
    assert server.command("site", "create", OLD).returncode == 0
    server.restart()
    try:
        yield Beside(server, dict(zip(CHAINS, made.stdout.split(), strict=True)))
        assert server.terminate() == 0
    finally:
        server.kill()


def test_the_log_is_checked_and_exported_and_chains_are_retired(beside: Beside, tmp_path: Path) -> None:
    gone, broken = beside.chains["gone"], beside.chains["broken"]
    checked = beside("audit", "verify", "--json")
    report = msgspec.json.decode(checked.stdout, type=VerifyReport)
    faults = {chain.server: chain.broken.fault if chain.broken else "" for chain in report.chains}
    assert (checked.returncode, faults.pop(broken), set(faults.values())) == (1, "removed", {""})
    assert any(chain.is_head_known and chain.entries for chain in report.chains), "the running server's own"

    refused = beside("audit", "retire", broken, "--yes")
    assert (refused.returncode, "broken at entry 2" in refused.stderr) == (1, True)
    assert beside("audit", "retire", gone).returncode == 1, "it is not confirmed"
    unknown = beside("audit", "retire", "nobody", "--yes")
    assert (unknown.returncode, "There is no chain nobody" in unknown.stderr) == (1, True)
    done = beside.document("audit", "retire", gone, "--yes")
    assert (done["chain"], done["last"], done["broken"], done["removed"]) == (gone, ENTRIES, None, True)
    accepted = beside.document("audit", "retire", broken, "--yes", "--accept-broken")
    assert accepted["broken"]["fault"] == "removed"

    whole = beside("audit", "verify")
    assert (whole.returncode, "chains are whole." in whole.stdout) == (0, True)
    file = tmp_path / "audit.ndjson"
    assert beside("audit", "export", "--output", str(file)).returncode == 0
    entries = [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
    assert not {entry["server"] for entry in entries} & {gone, broken}
    retired = [entry for entry in entries if entry.get("resource") == gone]
    assert [(entry["details"].get("state"), entry["details"]["until"]) for entry in retired] == [
        ("begun", str(ENTRIES)),
        (None, str(ENTRIES)),
    ]
    assert {entry["principal_kind"] for entry in retired} == {"token"}
    assert beside("audit", "export", "--to", "2020-01-01").stdout == ""
    told = {
        (entry["operation"], entry.get("outcome", "ok")) for entry in entries if "verify" in entry.get("operation", "")
    }
    assert told == {("verify_audit", "broken_chain"), ("verify_audit", "ok")}


async def test_what_is_too_old_is_shown_and_removed(beside: Beside) -> None:
    async with Client(beside.server) as client:  # not before the start, at which the server expires by itself
        assert (await client.call("PUT", f"/api/v1/sites/{OLD}", {"retention_days": 90})).status == 200
    planned = beside.document("expire", "--dry-run")
    done = beside.document("expire")
    text = beside("expire")

    assert [(site["site_id"], site["rows"]["events"]) for site in planned] == [(OLD, OLD_EVENTS)]
    assert [(site["site_id"], site["rows"]["events"]) for site in done] == [(OLD, OLD_EVENTS)]
    assert text.stdout == "0 rows removed.\n"


@pytest.mark.parametrize(
    "command", [("audit", "verify"), ("audit", "export"), ("audit", "retire", "x", "--yes"), ("expire",)], ids=" ".join
)
def test_without_a_token_the_command_says_what_it_needs(beside: Beside, command: tuple[str, ...]) -> None:
    done = beside(*command, ANALYTICS_ADMIN_TOKEN="")

    assert (done.returncode, done.stdout) == (1, "")
    assert "--token (or ANALYTICS_ADMIN_TOKEN): one of role admin, for all sites" in done.stderr


def test_another_server_is_named_by_its_address(beside: Beside, tmp_path: Path) -> None:
    elsewhere = {"ANALYTICS_SERVER_DATA_DIR": str(tmp_path)}

    done = beside("audit", "verify", "--url", beside.server.url, **elsewhere)

    assert "entries, 1 to" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_who_has_opted_out_is_listed_and_changed(beside: Beside) -> None:
    (added,) = beside.document("opt-out", "add", "u-1")
    again = beside("opt-out", "add", "-", typed="u-1\n")
    listed = beside("opt-out", "list").stdout.splitlines()

    assert (added["site_id"], beside.document("opt-out", "list")) == ("", [added])
    assert [line.split("\t")[:2] for line in listed] == [[added["user_hash"], "*"]]
    assert again.stdout.splitlines() == listed
    assert beside.document("opt-out", "remove", "u-1") == {"removed": True}
    assert beside("opt-out", "remove", "u-1").stdout == "removed\n", "also where the user is not on the list"
    assert beside.document("opt-out", "list") == []


def test_erasures_are_listed(beside: Beside) -> None:
    certificate = beside.document("erase", "u-2", "--yes")

    (erasure,) = beside.document("erasure", "list")
    (line,) = beside("erasure", "list").stdout.splitlines()

    assert (erasure["state"], erasure["certificate"]["hash"]) == ("done", certificate["hash"])
    assert line.split("\t")[:3] == [erasure["id"], erasure["user_hash"], "*"]
    assert line.split("\t")[4:] == ["done", "0"]


async def test_invitations_are_listed_and_taken_back(beside: Beside) -> None:
    async with Client(beside.server) as client:
        wanted = {"email": "anna@example.org", "name": "Anna", "roles": {OLD: "editor"}}
        assert (await client.call("POST", "/api/v1/invitations", wanted)).status == 201
    (made,) = beside.document("invitation", "list")
    id_ = made["invitation_id"]

    assert made | wanted == made
    assert "token" not in made
    (line,) = beside("invitation", "list").stdout.splitlines()
    assert line.split("\t")[:3] == [id_, "anna@example.org", f"editor@{OLD}"]
    assert beside.document("invitation", "revoke", id_) == {"invitation_id": id_, "revoked": True}
    gone = beside("invitation", "revoke", id_)
    assert (gone.returncode, "There is no invitation of that id" in gone.stderr) == (1, True)
    assert beside.document("invitation", "list") == []
