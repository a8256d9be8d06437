"""Expression templates of the registries of dimensions and metrics: `@name` is a placeholder.

Only expressions of the registries are filled in, never a SELECT.
"""

from __future__ import annotations

import re

_BLANK = re.compile(r"@(\w+)")


def fill(template: str, **blanks: str) -> str:
    """The expression with each `@name` replaced. Raises `KeyError` for a blank that has no value."""
    return _BLANK.sub(lambda blank: blanks[blank[1]], template)
