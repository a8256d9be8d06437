"""`opt-out`, `erasure` and `invitation` while no server runs; beside one: `test_beside_a_server.py`."""

from __future__ import annotations

import msgspec

from tests.cli.test_json import document
from tests.cli.test_main import Commands, run

__all__ = ["run"]


def test_who_has_opted_out_is_listed_and_changed(run: Commands) -> None:
    assert document(run, "opt-out", "list") == []
    (added,) = document(run, "opt-out", "add", "u-1")
    assert document(run, "opt-out", "add", "u-1") == [added]
    (other,) = [line.split("\t") for line in run.lines("opt-out", "add", "u-2")]

    assert [line.split("\t")[:2] for line in run.lines("opt-out", "list")] == [[added["user_hash"], "*"], other[:2]]
    assert run.lines("opt-out", "remove", "u-2") == ["removed"]
    assert document(run, "opt-out", "remove", "u-1") == {"removed": True}
    assert run.lines("opt-out", "list") == []
    entries = [msgspec.json.decode(line) for line in run.lines("audit", "export")]
    told = [(entry["operation"], entry["rows"]) for entry in entries if entry["action"] == "manage_opt_outs"]
    assert told == [("opt-out add", 1)] * 3 + [("opt-out remove", 1)] * 2
    assert {len(entry["details"]["user_hash"]) for entry in entries if entry["action"] == "manage_opt_outs"} == {32}


def test_a_user_id_that_is_none_is_refused(run: Commands) -> None:
    for text in ("", "u" * 257):
        assert run("opt-out", "add", text).exit_code == 2


def test_erasures_are_listed(run: Commands) -> None:
    assert document(run, "erasure", "list") == []
    run.lines("erase", "u-1", "--yes")

    (erasure,) = document(run, "erasure", "list")
    (line,) = run.lines("erasure", "list")

    assert line.split("\t")[:3] == [erasure["id"], erasure["user_hash"], "*"]
    assert line.split("\t")[4:] == ["done", "0"]


def test_invitations_are_listed_and_taken_back(run: Commands) -> None:
    run.lines("site", "create", "a.example")
    made = document(run, "person", "add", "anna@example.org", "--role", "editor", "--site", "a.example")
    owner = document(run, "person", "add", "ben@example.org", "--owner")

    listed = [line.split("\t")[:3] for line in run.lines("invitation", "list")]
    assert listed == [
        [made["invitation_id"], "anna@example.org", "editor@a.example"],
        [owner["invitation_id"], "ben@example.org", "owner"],
    ]
    secrets = ("token", "link")
    assert document(run, "invitation", "list")[0] == {name: made[name] for name in made if name not in secrets}
    assert run.lines("invitation", "revoke", owner["invitation_id"]) == ["revoked"]
    assert document(run, "invitation", "revoke", made["invitation_id"])["revoked"]
    gone = run("invitation", "revoke", made["invitation_id"])
    assert (gone.exit_code, "There is no invitation" in gone.output) == (1, True)
    assert run.lines("invitation", "list") == []
