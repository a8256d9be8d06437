"""SQL in the form of ClickHouse's own HTTP interface, for the tools that speak it."""
