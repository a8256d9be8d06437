"""What a JSON Schema can say of a question's parts beyond their Python types: names, operators, nesting.

Only for the API's description. Requests are checked by `request` and `filters`, whose
messages say more; these shapes let clients and tests know the same names.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from analytics_server.query.dimensions import DIMENSIONS, GOAL, KEY_CHARS, ValueKind
from analytics_server.query.language.conditions import COMPARISONS, OPERATORS
from analytics_server.query.language.time_range import COUNTED_RANGES, RANGE_NAMES
from analytics_server.query.metrics import METRICS

MAX_METRICS = 20
MAX_DIMENSIONS = 5
MIN_SEQUENCE = 2
MAX_SEQUENCE = 8
"""Steps of one sequence."""

Json = dict[str, Any]

_STEPS: Json = {"minItems": MIN_SEQUENCE, "maxItems": MAX_SEQUENCE}
_FILTER: Json = {"$ref": "#/components/schemas/Filter"}
_FAMILIES = "|".join(dimension.name.removesuffix("*") for dimension in DIMENSIONS if dimension.family)
DIMENSION: Json = {
    "anyOf": [
        {"enum": [*(dimension.name for dimension in DIMENSIONS if not dimension.family), GOAL.name]},
        {"type": "string", "pattern": f"^({_FAMILIES}).{{1,{KEY_CHARS}}}$"},
    ]
}
METRIC: Json = {"enum": [name for metric in METRICS for name in (metric.name, *metric.aliases)]}

MetricName = Annotated[str, Meta(extra_json_schema=METRIC)]
DimensionName = Annotated[str, Meta(extra_json_schema=DIMENSION)]
Metrics = Annotated[
    tuple[MetricName, ...],
    Meta(extra_json_schema={"minItems": 1, "maxItems": MAX_METRICS, "uniqueItems": True}),
]
Dimensions = Annotated[
    tuple[DimensionName, ...], Meta(extra_json_schema={"maxItems": MAX_DIMENSIONS, "uniqueItems": True})
]
Filters = Annotated[tuple[object, ...], Meta(extra_json_schema={"items": _FILTER})]
RANGE_NAME: Json = {"anyOf": [{"enum": list(RANGE_NAMES)}, {"type": "string", "pattern": COUNTED_RANGES}]}
RangeName = Annotated[str, Meta(extra_json_schema=RANGE_NAME)]
DateRange = RangeName | tuple[str | int, str | int]


def components() -> dict[str, Json]:
    """The schemas that the shapes refer to."""
    return {"Filter": _filter()}


def _filter() -> Json:
    texts = [name for name in OPERATORS if name not in COMPARISONS]
    values = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    number = {"type": ["number", "string"]}
    numbers = {"type": "array", "items": number, "minItems": 1}
    numeric = {
        "description": "A dimension whose values are numbers.",
        "enum": [dimension.name for dimension in DIMENSIONS if dimension.values is ValueKind.NUMBER],
    }
    dimension = {"description": "A dimension, no time.", **DIMENSION}
    options = {
        "type": "object",
        "properties": {"case_sensitive": {"type": "boolean"}},
        "required": ["case_sensitive"],
        "additionalProperties": False,
    }
    return {
        "title": "Filter",
        "description": "A comparison of a dimension's value, or an operator around other filters, or a saved thing.",
        "anyOf": [
            _list({"enum": texts}, dimension, values, options=options),
            _list({"enum": list(COMPARISONS)}, numeric, {**numbers, "maxItems": 1}),
            _list({"enum": ["is", "is_not"]}, numeric, numbers),
            _list({"enum": ["and", "or"]}, {"type": "array", "items": _FILTER, "minItems": 1}),
            _list({"enum": ["sequence"]}, {"type": "array", "items": _FILTER, **_STEPS}),
            _list({"enum": ["not", "has_done", "has_not_done"]}, _FILTER),
            _list({"enum": ["goal", "segment"]}, {"description": "Its id or name, or a list of them.", "anyOf": [
                {"type": "string", "minLength": 1}, values]}),
        ],
    }  # fmt: skip


def _list(*items: Json, options: Json | None = None) -> Json:
    """A list of just these, and perhaps one more."""
    return {
        "type": "array",
        "prefixItems": [*items, *([options] if options else [])],
        "items": False,
        "minItems": len(items),
    }
