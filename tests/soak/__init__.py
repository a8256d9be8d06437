"""The soak: good and bad traffic for minutes while server and ClickHouse are killed, then every event is counted.

`python -m tests.soak --minutes 10` (`make soak`); everything stays on the loopback interface.
"""
