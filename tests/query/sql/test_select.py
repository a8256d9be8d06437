"""A SELECT is a value until it is printed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analytics_server.query.sql.select import (
    ArrayJoin,
    Fragment,
    Join,
    Scalar,
    Select,
    Subquery,
    Table,
    Union,
    and_,
    columns_read,
    compose,
    compose_list,
    is_in,
    print_line,
    print_sql,
    select,
    union_all,
)
from analytics_server.query.sql.templates import fill

KEYS = select(["s.key"], Table("sessions", "s", final=True), ["s.site_id = 1"])


def test_clauses_are_printed_in_the_order_of_the_language() -> None:
    query = Select(
        columns=("e.name AS name", "count() AS events"),
        source=Table("events", "e"),
        prewhere=("e.site_id = 1",),
        where=("e.ts >= 2", is_in(("e.key",), KEYS, negated=True)),
        group_by=("name",),
        having=("events > 3",),
        order_by=("events DESC", "name"),
        limit="10",
        offset="20",
        scalars=(("least", select(["1"], None)),),
    )
    assert print_line(query) == (
        "WITH (SELECT 1) AS least SELECT e.name AS name, count() AS events FROM events AS e PREWHERE e.site_id = 1"
        " WHERE e.ts >= 2 AND (e.key) NOT IN (SELECT s.key FROM sessions AS s FINAL WHERE s.site_id = 1)"
        " GROUP BY name HAVING events > 3 ORDER BY events DESC, name LIMIT 10 OFFSET 20"
    )


def test_the_same_query_on_many_lines_says_the_same() -> None:
    joined = Join(Subquery(KEYS, "a"), "LEFT", Subquery(union_all([KEYS, KEYS]), "b"), "USING (key)")
    query = select(["*"], ArrayJoin(joined, "[1, 2] AS one"), [is_in(("a.key", "one"), Union((KEYS,) * 2, True))])
    flat = " ".join(print_sql(query).split()).replace("( ", "(").replace(" )", ")")
    assert flat == print_line(query)
    assert "\n    UNION ALL\n    SELECT\n" in print_sql(query)


def test_a_query_in_an_expression_stays_a_value() -> None:
    earliest = compose("e.ts >= ", Scalar(KEYS), " - 1")
    assert isinstance(earliest, Fragment)
    with pytest.raises(TypeError, match="no text before it is printed"):
        f"{earliest} AND 1"
    with pytest.raises(TypeError):
        " AND ".join([earliest])  # type: ignore[list-item]
    assert print_line(select([and_([earliest, "1"])], None)) == (
        "SELECT (e.ts >= (SELECT s.key FROM sessions AS s FINAL WHERE s.site_id = 1) - 1 AND 1)"
    )


def test_text_alone_stays_text() -> None:
    assert compose("a", " = ", "b") == "a = b"
    assert compose_list(", ", ["a", "b"]) == "a, b"
    assert compose_list(", ", []) == ""


def test_another_query_is_made_by_replacing_a_part() -> None:
    more = replace(KEYS, where=(*KEYS.where, "s.day = 2"))
    assert print_line(more).endswith("WHERE s.site_id = 1 AND s.day = 2")
    assert print_line(KEYS).endswith("WHERE s.site_id = 1")


def test_the_columns_read_are_those_outside_of_inner_queries() -> None:
    own = select(["s.other"], Table("sessions", "s"))
    assert columns_read("s", ["s.b + s.a", is_in(("s.key",), own), "es.c"]) == ["a", "b", "key"]


def test_a_blank_without_a_value_is_an_error() -> None:
    assert fill("@uniq(@at)", uniq="uniqExact", at="e.ts") == "uniqExact(e.ts)"
    with pytest.raises(KeyError):
        fill("toDate(@at)", key="x")
