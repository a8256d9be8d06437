"""Refusing a question that asks for what the site's profile forbids, also of data stored before it was set."""

from __future__ import annotations

from collections.abc import Iterable

from analytics_server.errors import RequestError
from analytics_server.profiles.tables import profile_of

FORBIDDEN = "forbidden_by_profile"


def refuse_fields(profile_name: str, dimensions: Iterable[str] = (), metrics: Iterable[str] = ()) -> None:
    """Raise `RequestError` where one of them is forbidden. Full names, without aliases."""
    profile = profile_of(profile_name)
    if not profile.restricts:
        return
    for kind, forbidden, names in (
        ("dimension", profile.forbidden_dimensions, dimensions),
        ("metric", profile.forbidden_metrics, metrics),
    ):
        for name in names:
            if name in forbidden:
                raise _refused(profile_name, f"The {kind} {name!r}")


def refuse_users(profile_name: str) -> None:
    """Raise `RequestError` where questions by the application's id of a person are forbidden."""
    if not profile_of(profile_name).by_user:
        raise _refused(profile_name, 'A question by "user"')


def refuse_cohorts(profile_name: str) -> None:
    """Raise `RequestError` where cohorts are forbidden."""
    if not profile_of(profile_name).cohorts:
        raise _refused(profile_name, "A question about cohorts")


def _refused(profile_name: str, what: str) -> RequestError:
    return RequestError(
        f"{what} is forbidden by the site's profile {profile_name!r}: leave it out. GET /api/v1/profiles lists what"
        " each profile forbids.",
        code=FORBIDDEN,
    )
