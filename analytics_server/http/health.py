"""Endpoints for operating the process: liveness, readiness and metrics."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from analytics_server.http.authorization import PUBLIC
from analytics_server.http.endpoint import Endpoint, RawHandler
from analytics_server.http.openapi.operation import Reply


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How the process is: `ok`, `ready` or `not_ready`, then with the reason."""

    status: Literal["ok", "ready", "not_ready"]
    reason: str | UnsetType = UNSET


def endpoints(*, liveness: RawHandler, readiness: RawHandler, metrics: RawHandler) -> list[Endpoint]:
    """`/healthz`, `/readyz` and `/metrics`, answered by the given handlers."""
    return [
        Endpoint(
            method="GET",
            path="/healthz",
            name="get_health",
            summary="Does the process live?",
            tag="operations",
            action=PUBLIC,
            serve=liveness,
            replies=(Reply(about="It does.", type=Health),),
        ),
        Endpoint(
            method="GET",
            path="/readyz",
            name="get_readiness",
            summary="Should it get traffic?",
            tag="operations",
            action=PUBLIC,
            serve=readiness,
            replies=(
                Reply(about="It should.", type=Health),
                Reply(status=503, about="It is stopping, or its log refuses events.", type=Health),
            ),
        ),
        Endpoint(
            method="GET",
            path="/metrics",
            name="get_metrics",
            summary="Counters for Prometheus",
            tag="operations",
            action=PUBLIC,
            serve=metrics,
            replies=(Reply(about="Prometheus's text format.", formats=("text/plain",)),),
        ),
    ]
