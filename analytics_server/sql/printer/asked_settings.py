"""SETTINGS at the end of a query: a few that change what NULL means, and some that are taken and not followed.

Everything that bounds or guards a query is set by the server alone.
"""

from __future__ import annotations

from sqlglot import exp

from analytics_server.sql.printer.context import Context
from analytics_server.sql.refusal import shown

FOLLOWED = ("join_use_nulls", "group_by_use_nulls", "aggregate_functions_null_for_empty", "transform_null_in")
"""0 or 1."""
UNFOLLOWED = ("max_threads", "use_query_cache", "optimize_read_in_order", "final", "log_queries")
"""What people's texts carry along; the server decides it."""

FILTERS = frozenset({"additional_table_filters", "additional_result_filter", "limit", "offset"})
"""Without these an answer would be another one than was asked for."""


def take_settings(context: Context, tree: exp.Expr) -> dict[str, int]:
    """Cut SETTINGS off the tree, and return those to be followed. Raises `SqlRefused`."""
    last = tree
    while isinstance(last, exp.SetOperation) and not last.args.get("settings"):
        last = last.expression  # behind a union they are read as its last SELECT's
    asked = last.args.get("settings") if isinstance(last, (exp.Select, exp.SetOperation, exp.Subquery)) else None
    taken: dict[str, int] = {}
    for each in asked or []:
        name = each.this.name if isinstance(each, exp.EQ) and isinstance(each.this, exp.Column) else ""
        if context.catalog.drops_settings and name in FILTERS:
            context.refuse(
                each, f"The setting {name} can't be used here: write the condition into the query.", "bad_setting"
            )
        if context.catalog.drops_settings and name not in FOLLOWED:
            context.dropped.append(name)
            continue
        if name not in FOLLOWED and name not in UNFOLLOWED:
            context.refuse_clause(
                last, "settings", f"SETTINGS {shown(name)} can't be used here, only {', '.join(FOLLOWED)}."
            )
        value = each.expression
        text = str(value.this) if isinstance(value, exp.Literal) and not value.args.get("is_string") else ""
        if not text.isascii() or not text.isdigit() or len(text) > 9 or (name in FOLLOWED and text not in ("0", "1")):
            context.refuse_clause(last, "settings", f"The setting {name} is a whole number, or 0 or 1.")
        if name in FOLLOWED:
            taken[name] = int(text)
    if asked:
        last.set("settings", None)
    return taken
