"""A ClickHouse server for tests: its HTTP interface over the engine in process, in a process of its own.

Run it with `python -m tests.clickhouse_front --path DIR --port 0`. It can be killed
(`kill -9`) and started again on the same directory, and it can be told to misbehave
(see `faults`). It is not a database to keep anything in.
"""
