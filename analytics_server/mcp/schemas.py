"""JSON Schemas of tools' arguments, made of the types that requests are decoded to.

Self-contained and plain: assistants' programs differ in what they understand, so there are no references, and a
filter, which is recursive, is told in words. What is asked is checked by the endpoint, whose messages say more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

Json = dict[str, Any]

_REF = "#/$defs/{name}"
_FILTER: Json = {
    "type": "array",
    "description": "[operator, dimension, [values]], such as ['is','event:page',['/a']]; ['and',[filters]],"
    " ['or',[filters]], ['not',filter], ['has_done',filter], ['goal','name'], ['segment','name'].",
}
_KEPT = ("type", "description", "enum", "const", "default", "minimum", "maximum", "minLength", "maxLength", "pattern")
ABOUT = {
    "site_id": "The site, as list_sites names it.",
    "date_range": "day, yesterday, 24h, 7d, 30d, 12mo, week, month, year, all, or a pair of dates: both days count.",
    "filters": "All must hold. Operators: is, is_not, contains, contains_not, matches, matches_wildcard and others.",
    "breakdown": "A dimension, such as visit:source, whose values divide the answer.",
    "dimensions": "What to group by, such as visit:source, event:page or time:day; see describe.",
    "metrics": "Numbers to ask for, such as visitors; see describe.",
    "limit": "How many values or rows at most.",
}
"""What arguments mean, where tools use them alike."""


def input_schema(kind: type[msgspec.Struct], about: Mapping[str, str]) -> Json:
    """The schema of a tool's arguments. `about`: what they mean, beside or in place of `ABOUT`."""
    (schema,), defs = msgspec.json.schema_components([kind], schema_hook=_hook, ref_template=_REF)
    found = _plain(schema, defs)
    texts = {**ABOUT, **about}
    for name, value in found.get("properties", {}).items():
        if name in texts:
            value["description"] = texts[name]
    return {key: found[key] for key in ("type", "properties", "required", "additionalProperties") if key in found}


def _plain(schema: Any, defs: Mapping[str, Any]) -> Json:
    """The schema without references, titles and lists of differing kinds."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return dict(_FILTER) if name == "Filter" else _plain(defs[name], defs) | _described(schema)
    found = {key: schema[key] for key in _KEPT if key in schema}
    if "properties" in schema:
        found["properties"] = {name: _plain(value, defs) for name, value in schema["properties"].items()}
        if "filters" in found["properties"]:  # as the API takes them; the type alone tells nothing
            found["properties"]["filters"]["items"] = dict(_FILTER)
        found["required"] = schema.get("required", [])
        found["additionalProperties"] = schema.get("additionalProperties", True)
    elif isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = _plain(schema["additionalProperties"], defs)
    if kinds := schema.get("anyOf"):
        found["anyOf"] = [_plain(each, defs) for each in kinds]
    found |= {key: schema[key] for key in ("minItems", "maxItems", "uniqueItems") if key in schema}
    if items := schema.get("prefixItems"):
        kinds = [_plain(each, defs) for each in items]
        found["items"] = kinds[0] if all(each == kinds[0] for each in kinds) else {"anyOf": kinds}
    elif isinstance(schema.get("items"), dict):
        found["items"] = _plain(schema["items"], defs)
    return found


def _described(schema: Json) -> Json:
    return {"description": schema["description"]} if "description" in schema else {}


def _hook(kind: type) -> Json:
    if kind is object:
        return {"description": "Any JSON value."}
    raise NotImplementedError
