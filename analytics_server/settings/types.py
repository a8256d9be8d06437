"""The types that settings have: numbers within bounds, paths, and the base of the sections they stand in."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]
Hours = Annotated[int, Meta(ge=0, le=8_760)]
RetentionDays = Annotated[int, Meta(ge=0, le=36_500)]
Seconds = Annotated[float, Meta(gt=0, le=1e9)]
UrlPath = Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9._~-]+)+$")]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections of the config: unknown keys are errors."""
