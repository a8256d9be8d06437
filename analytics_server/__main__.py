"""`python -m analytics_server`."""

from analytics_server.cli import main

main()
