"""The check of who may enter the server's directories: they hold events and salts, so nobody but its user should."""

from __future__ import annotations

import asyncio

from analytics_server.config import Config
from analytics_server.doctor.report import BaseCheck, Facts, Finding
from analytics_server.store.data_directory import PRIVATE, open_to_others


class DirectoriesCheck(BaseCheck):
    """Data directory and log's directory are for the server's user alone."""

    name = "directories"

    def __init__(self, config: Config) -> None:
        self._config = config

    async def examine(self) -> Finding:
        """Look at their permissions."""
        found = await asyncio.to_thread(open_to_others, self._config)
        facts: Facts = {"open": [f"{path} {mode:o}" for path, mode in found]}
        if not found:
            return self.ok("No other user may enter the data directory.", **facts)
        told = ", ".join(f"{path} ({mode:o})" for path, mode in found)
        return self.warning(
            f"Other users of this machine may enter {told}: what visitors did lies there.",
            f"chmod {PRIVATE:o} {' '.join(str(path) for path, _ in found)}; --repair does it.",
            **facts,
        )

    async def repair(self) -> str:
        """Take others' rights away."""
        found = await asyncio.to_thread(open_to_others, self._config)
        for path, _ in found:
            await asyncio.to_thread(path.chmod, PRIVATE)
        return "closed the directories to other users" if found else ""
