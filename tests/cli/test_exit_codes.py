"""Exit codes: 2 where the command line itself is wrong, in one line; 1 where it could not be done."""

from __future__ import annotations

import pytest

from tests.cli.test_main import Commands, run

__all__ = ["run"]

ROLE = ("--role", "editor", "--site", "a.example")
WRONG = [
    ("audit", "export", "--from", "xx"),
    ("audit", "export", "--to", "2026-02-30"),
    ("audit", "export", "--from", "2026-02-01", "--to", "2026-01-01"),
    ("audit", "verify", "--url", "nowhere"),
    ("demo", "--days", "0"),
    ("demo", "--end", "soon"),
    ("demo", "--site", "bad..site"),
    ("demo", "--timezone", "X/Y"),
    ("demo", "--url", "127.0.0.1:8000", "--token", "x"),
    ("erase", "", "--yes"),
    ("export", "u" * 257),
    ("export-data", "a.example", "--to", "x", "--url", "ftp://127.0.0.1"),
    ("expire", "--url", "http://"),
    ("mail", "test", "bad"),
    ("mcp", "--url", "nowhere"),
    ("opt-out", "add", ""),
    ("person", "add", "bad", "--owner"),
    ("person", "add", "a@example.org", "--role", "editor", "--site", "bad..site"),
    ("person", "change", "bad", "--owner"),
    ("person", "remove", "bad", "--yes"),
    ("person", "reset-password", "bad"),
    ("person", "sessions", "bad"),
    ("person", "sign-out", "bad"),
    ("privacy-report", "bad..site"),
    ("share", "create", "bad..site"),
    ("share", "create", "a.example", "--embed-host", "no host"),
    ("share", "create", "a.example", "--expires", "soon"),
    ("share", "create", "a.example", "--filters", '[["is", "event:nothing", ["x"]]]'),
    ("share", "create", "a.example", "--filters", "x"),
    ("share", "list", "--site", "bad..site"),
    ("site", "create", "a.example", "--timezone", "X/Y"),
    ("site", "create", "bad..site"),
    ("site", "remove", "bad..site", "--yes"),
    ("site", "set", "a.example", "--currency", "xx"),
    ("site", "set", "a.example", "--exclude-country", "Nowhere"),
    ("site", "set", "bad..site", "--currency", "EUR"),
    ("site", "show", "bad..site"),
    ("token", "create", "--expires", "soon"),
    ("token", "create", "--role", "editor", "--threshold", "5"),
    ("token", "create", "--scope", "frob"),
    ("token", "create", "--site", "bad..site"),
]
NOT_THERE = [
    ("archive", "forget", "x"),
    ("audit", "retire", "x", "--yes"),
    ("invitation", "revoke", "x"),
    ("person", "sessions", "a@example.org"),
    ("privacy-report", "b.example"),
    ("share", "create", "b.example"),
    ("share", "revoke", "x"),
    ("site", "show", "b.example"),
    ("token", "revoke", "x"),
]


@pytest.mark.parametrize("command", WRONG, ids=" ".join)
def test_a_wrong_value_is_a_wrong_command_line(run: Commands, command: tuple[str, ...]) -> None:
    run.lines("site", "create", "a.example")

    done = run(*command)

    assert (done.exit_code, done.stdout) == (2, ""), (done.output, done.exception)
    assert done.stderr


@pytest.mark.parametrize("command", NOT_THERE, ids=" ".join)
def test_what_is_not_there_is_no_wrong_command_line(run: Commands, command: tuple[str, ...]) -> None:
    done = run(*command)

    assert done.exit_code == 1, done.output
