"""What a wire format calls the fields of an event, so that answers name them as the sender does.

Everything behind the decoders knows the names of `/track` alone; only what is told of a fault is put into the
format's own words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

FieldNames = Mapping[str, str]
"""The format's name of a field by that of `/track`; a field that is missing has the same name in both."""

NO_NAMES: FieldNames = {}
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def own_name(field: str, names: FieldNames) -> str:
    """What the format calls the field; `props.plan` is a field of `props`."""
    if field in names:
        return names[field]
    parent, dot, rest = field.partition(".")
    return f"{names[parent]}.{rest}" if dot and parent in names else field


def code_of(kind: str, name: str) -> str:
    """The code of a fault of the field with this name: `missing_page_url` of `data.pageUrl`."""
    return f"{kind}_{_HUMP.sub('_', name.rpartition('.')[2]).lower()}"
