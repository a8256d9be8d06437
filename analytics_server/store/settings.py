"""The engine's settings that come with each statement."""

from __future__ import annotations

from typing import Any

from analytics_server.store.protocol import Parameters, Settings

INSERT_SETTINGS: dict[str, str] = {
    "async_insert": "0",
    "wait_end_of_query": "1",
    "insert_deduplicate": "0",
    "deduplicate_blocks_in_dependent_materialized_views": "0",
    "max_insert_block_size": "10000000",
    "min_insert_block_size_rows": "10000000",
    "min_insert_block_size_bytes": "0",
    "max_insert_threads": "1",
    "max_threads": "1",
    "max_partitions_per_insert_block": "1000",
    "parallel_view_processing": "0",
    "input_format_parallel_parsing": "0",
    "input_format_native_allow_types_conversion": "1",
}
"""All that correctness of an insert rests on, because the engine's defaults change between versions:
synchronous, no deduplication by block (verification by batch_id instead), one block and so one part.
Strings become LowCardinality on arrival (see `native`)."""

SERVER_INSERT_SETTINGS: dict[str, str] = {
    "log_queries": "0",
    "log_query_threads": "0",
    "log_query_views": "0",
    "log_processors_profiles": "0",
    "query_profiler_real_time_period_ns": "0",
    "query_profiler_cpu_time_period_ns": "0",
}
"""An insert a second, with its views, would fill a server's own log tables faster than `events`. The engine in
process has none."""

UNSOUND: dict[str, str] = {"use_top_k_dynamic_filtering": "0"}
"""Optimizations that are turned off where an engine has them. This one now and then compares the first column of an
ORDER BY with a LIMIT to a value of another one: the question ends in an error, and rows might be left out. (Seen in
26.5, ordering by a time and a LowCardinality text.)"""

ALL_ANSWER: Settings = {"skip_unavailable_shards": 0}
"""A replica that can't be asked is an error, never an empty answer."""


def plain(parameters: Parameters | None) -> dict[str, Any] | None:
    """Parameters as the client library takes them; None for none."""
    return dict(parameters) if parameters else None


def limited(settings: Settings | None, timeout_s: float) -> dict[str, Any]:
    """Every question carries its own time limit, so that it ends in the engine too."""
    return {"max_execution_time": timeout_s, "timeout_before_checking_execution_speed": 0, **(settings or {})}


READ_NOW: Settings = {
    "use_query_cache": 0,
    "select_sequential_consistency": 0,
    "max_parallel_replicas": 1,
    "max_replica_delay_for_distributed_queries": 0,
}
"""Whatever the user's profile says: each replica answers for itself, with what it holds now."""
