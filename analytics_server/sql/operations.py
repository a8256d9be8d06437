"""The former place of `codes`, for rooms that are not converted to endpoints yet."""

from __future__ import annotations

from analytics_server.sql.codes import CHECK_CODES, RUN_CODES

__all__ = ["CHECK_CODES", "RUN_CODES"]
