"""Error codes of SQL: what can be wrong with a text, and what can go wrong when it runs."""

from __future__ import annotations

CHECK_CODES = (
    "bad_parameter",
    "bad_sql",
    "sql_not_allowed",
    "sql_too_big",
    "unknown_column",
    "unknown_function",
    "unknown_table",
    "unknown_type",
)
"""What can be wrong with a text, whatever the rows."""
RUN_CODES = (
    *CHECK_CODES,
    "bad_pattern",
    "sql_answer_too_big",
    "sql_failed",
    "sql_memory",
    "sql_timeout",
    "sql_too_much_read",
    "unsupported_join",
)
