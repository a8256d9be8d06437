"""`analytics-server share`: links are shown once, listed without their secret, revoked, and recorded."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from analytics_server.access.tokens import token_hash
from analytics_server.cli.main import cli

_numbers = itertools.count(1)


@pytest.fixture
def environment(tmp_path: Path, embedded_path: Path) -> dict[str, str]:
    return {
        "ANALYTICS_SERVER_DATA_DIR": str(tmp_path),
        "ANALYTICS_CLICKHOUSE_URL": f"chdb://{embedded_path}",
        "ANALYTICS_CLICKHOUSE_DATABASE": f"cli_shares_{next(_numbers)}",
    }


def test_links_are_made_listed_revoked_and_recorded(environment: dict[str, str]) -> None:
    def run(*arguments: str, given: str | None = None) -> Result:
        return CliRunner().invoke(cli, arguments, env=environment, input=given)

    assert run("site", "create", "a.example").exit_code == 0
    plain = run("share", "create", "A.example", "--name", "For the agency")
    filters = json.dumps([["contains", "event:page", ["/blog"]]])
    more = ("--filters", filters, "--threshold", "2", "--embed-host", "agency.example", "--expires", "2099-12-31")
    narrow = run("share", "create", "a.example", *more, "--password-stdin", "--json", given="open sesame\n")
    made = json.loads(narrow.stdout)
    secret = plain.stdout.strip().rpartition("/")[2]

    assert (plain.exit_code, narrow.exit_code) == (0, 0), narrow.output
    assert plain.stdout.startswith("http://127.0.0.1:8000/share/asl_")
    assert made["link"].startswith("http://127.0.0.1:8000/share/asl_")
    assert (made["threshold"], made["filters"], made["has_password"]) == (2, json.loads(filters), True)
    listed = [line.split("\t") for line in run("share", "list").stdout.splitlines()]
    assert listed == [
        [token_hash(secret)[:12], "a.example", "-", "-", "For the agency"],
        [made["link_id"], "a.example", "1 filters, threshold 2, password", "2099-12-31T00:00Z", ""],
    ]
    shown = json.loads(run("share", "list", "--site", "a.example", "--json").stdout)
    assert [one["link_id"] for one in shown] == [one[0] for one in listed]
    assert not {secret, made["link"], "open sesame"} & {str(value) for one in shown for value in one.values()}
    assert run("share", "list", "--site", "b.example", "--json").stdout.strip() == "[]"

    assert json.loads(run("share", "revoke", made["link_id"], "--json").stdout) == {
        "link_id": made["link_id"],
        "revoked": True,
    }
    assert run("share", "revoke", listed[0][0]).stdout == "revoked\n"
    assert run("share", "list").stdout == ""
    gone = run("share", "revoke", made["link_id"])
    assert (gone.exit_code, "There is no share link" in gone.output) == (1, True)
    entries = [json.loads(line) for line in run("audit", "export").stdout.splitlines()]
    recorded = [(one["operation"], one.get("site_id"), one.get("resource")) for one in entries]
    for operation in ("share create", "share revoke"):
        for id_ in (listed[0][0], made["link_id"]):
            assert (operation, "a.example", id_) in recorded

    for wrong, code, told in (
        (("nowhere.example",), 1, "There is no site"),
        (("a.example", "--segment", "Nothing"), 1, "no segment"),
        (("a.example", "--filters", "[["), 2, "--filters"),
        (("a.example", "--filters", '[["has_done", "event:page", ["/"]]]'), 2, "can't be fixed"),
        (("a.example", "--name", "x" * 1_000), 2, "name"),
        (("a.example", "--threshold", "1"), 2, "--threshold"),
        (("a.example", "--threshold", "1001"), 2, "--threshold"),
        (("a.example", "--expires", "2020-01-01"), 2, "--expires"),
        (("a.example", "--password-stdin"), 2, "no password"),
    ):
        refused = run("share", "create", *wrong, given="")
        text = refused.output + str(getattr(refused.exception, "message", ""))
        assert (refused.exit_code, told in text) == (code, True), (wrong, text)
