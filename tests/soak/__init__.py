"""The soak: good and bad traffic for minutes while server and ClickHouse are killed, and the books at the end.

`python -m tests.soak --minutes 10` (`make soak`); everything stays on the loopback interface.
"""
