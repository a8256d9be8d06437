"""What was dropped and rejected, by site, reason and hour: counted, written to ClickHouse, told by `/api/v1/drops`."""
