"""`analytics-server` and `python -m analytics_server`."""

from __future__ import annotations

from analytics_server.cli.main import main

if __name__ == "__main__":
    main()
