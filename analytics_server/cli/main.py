"""The command `analytics-server`: serve, check-config, doctor, export, erase, site, token, person, audit and more."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import click

from analytics_server import __version__
from analytics_server.cli.lazy import LazyCommand, LazyGroup
from analytics_server.cli.printing import print_error
from analytics_server.errors import AnalyticsError, RequestError

WRONG_COMMAND_LINE = 2
"""As click ends with where an option is unknown: also where the value of an argument can't be one."""
_WRONG_VALUE = RequestError.status
_NOT_THERE = {"unknown_segment"}
"""A value that might be one, but there is nothing of that name."""


class Commands(LazyGroup):
    """All commands."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run one. What the API would refuse as a bad request is a wrong command line: one line, and exit code 2."""
        try:
            return super().invoke(ctx)
        except AnalyticsError as error:
            if error.status != _WRONG_VALUE or error.code in _NOT_THERE:
                raise
            print_error(error)
            ctx.exit(WRONG_COMMAND_LINE)

    lazy: ClassVar[Mapping[str, LazyCommand]] = {
        "archive": LazyCommand("files.archive", "archive", "List and forget directories of files of days."),
        "audit": LazyCommand("audit", "audit", "Check the audit log, write it out, or retire a chain."),
        "check-config": LazyCommand("installation", "check_config", "Check the settings, and print what results."),
        "dead-letters": LazyCommand("dead_letters", "letters", "List, export and put back what ClickHouse refused."),
        "demo": LazyCommand("demo", "demo", "Fill a site with realistic made-up traffic."),
        "doctor": LazyCommand("doctor", "doctor", "Look for what can be wrong, and say what to do."),
        "erase": LazyCommand("privacy.person", "erase", "Erase all that is stored of a person."),
        "erasure": LazyCommand("privacy.opt_outs", "erasure", "List the erasures of people."),
        "expire": LazyCommand(
            "privacy.expire", "expire", "Remove what is older than sites keep it, or show what would go."
        ),
        "export": LazyCommand("privacy.person", "export", "Export all that is stored of a person."),
        "export-data": LazyCommand("files.export_data", "export_data", "Write all events of a site to files."),
        "healthcheck": LazyCommand("healthcheck", "healthcheck", "Ask the running server whether it lives."),
        "invitation": LazyCommand("access.invitations", "invitation", "List invitations, and take them back."),
        "mail": LazyCommand("access.mail", "mail", "Try the mail server of the settings."),
        "mcp": LazyCommand("mcp", "mcp", "Answer an AI assistant on standard input and output."),
        "migrate": LazyCommand("installation", "migrate_command", "Bring ClickHouse to this program's schema."),
        "opt-out": LazyCommand("privacy.opt_outs", "opt_out", "List, add and remove people who are not stored."),
        "person": LazyCommand("access.people", "person", "List, invite, change and remove people who sign in."),
        "privacy-report": LazyCommand("privacy.report", "privacy_report", "Say what a site stores, why and how long."),
        "serve": LazyCommand("serve", "serve", "Collect beacons, answer questions, serve the dashboard."),
        "share": LazyCommand("access.shares", "share", "List, create and revoke share links of sites."),
        "site": LazyCommand("sites", "site", "List, create, show, change and delete sites."),
        "token": LazyCommand("access.tokens", "token", "List, create and revoke tokens."),
    }


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="analytics-server")
def cli() -> None:
    """A self-hosted, privacy-first web-analytics server."""


def main() -> None:
    """Entry point: an expected error is printed as one line, not as a stack trace."""
    try:
        cli()
    except (AnalyticsError, OSError) as error:
        print_error(error)
        sys.exit(1)
