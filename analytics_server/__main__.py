"""`analytics-server` and `python -m analytics_server`.

A health check runs every few seconds for as long as the container lives: it must not load the
server to ask one question, so it is told apart before the other commands are imported.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of every command."""
    if sys.argv[1:2] == ["healthcheck"]:
        from analytics_server.cli.healthcheck import healthcheck

        healthcheck(sys.argv[2:], prog_name="analytics-server healthcheck")
    else:
        from analytics_server.cli.main import main as run

        run()


if __name__ == "__main__":
    main()
