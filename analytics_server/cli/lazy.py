"""Lazy import of commands: of a group only the called one is imported, so `--help` and small commands start at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar

import click


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command is: `module` (within the package `analytics_server.cli`), and what the list says of it."""

    module: str
    name: str
    short_help: str


class LazyGroup(click.Group):
    """`lazy`: commands by their names."""

    lazy: ClassVar[Mapping[str, LazyCommand]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in order."""
        return sorted(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported; None if there is none of that name."""
        found = self.lazy.get(cmd_name)
        if found is None:
            return None
        command = getattr(import_module(f"analytics_server.cli.{found.module}"), found.name)
        assert isinstance(command, click.Command), cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.lazy[name].short_help) for name in self.list_commands(ctx)])
