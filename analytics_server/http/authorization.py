"""Authorization as the HTTP layer sees it: the action that an endpoint declares, and the resource it is done to.

Declared data only. Who may do what is decided in one place, which the application hands in as an `Authorizer`
(`access/actions.py`): this layer lies below it and must not import it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

MANAGING = frozenset({"admin", "owner"})
EDITING = frozenset({"editor", "admin", "owner"})
READING = frozenset({"viewer", "editor", "admin", "owner"})
COLLECTING = frozenset({"collect", "admin", "owner"})
ANY_ROLE = READING | COLLECTING
LEAST_FIRST = ("viewer", "editor", "admin", "owner")


class ResourceKind(Enum):
    """What an action is done to."""

    NOTHING = "nothing"
    SITE = "site"
    ALL_SITES = "all sites"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something a principal may be allowed to do. `roles`: those that may, on the resources that they cover.

    `refusal` is the message for the others; `{who}` and `{role}` stand for them. `optional_token`: also without any
    credential. `people_only`: of people who sign in, whatever the role of a token. `otherwise`: who may do that instead
    is let in too, and the handler tells the two apart.
    """

    name: str
    about: str
    resource: ResourceKind
    roles: frozenset[str]
    refusal: str = "{who} has the role {role}; reading needs viewer, editor, admin or owner."
    optional_token: bool = False
    people_only: bool = False
    otherwise: Action | None = None

    @property
    def role(self) -> str:
        """The least role that an API description names: `collect` where a token is optional, else `viewer` to `owner`.

        An admin of all sites is an owner.
        """
        if self.optional_token:
            return "collect"
        least = next((role for role in LEAST_FIRST if role in self.roles), "owner")
        return "owner" if least == "admin" and self.resource is ResourceKind.ALL_SITES else least


@dataclass(frozen=True, slots=True)
class Resource:
    """What an action is done to: one site, all sites, or nothing in particular."""

    kind: ResourceKind
    site_id: str = ""

    @classmethod
    def site(cls, site_id: str) -> Resource:
        """One site. `site_id`: stripped and in lower case."""
        return cls(ResourceKind.SITE, site_id)


ALL_SITES = Resource(ResourceKind.ALL_SITES)
ANYWHERE = Resource(ResourceKind.NOTHING)
"""Asks whether the action could be allowed on any resource: decided by the role alone, before a site is known."""


class Public(Enum):
    """The declaration of an endpoint that anyone may call."""

    PUBLIC = "public"


PUBLIC = Public.PUBLIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """What a share link shows of its site: events that pass the filters and those of a saved segment (by its id).

    `threshold`: rows of fewer visitors are not shown by themselves; 0 for none. A token may have one, too: `is_link` is
    false then, and `site_id` empty.
    """

    site_id: str
    filters: tuple[object, ...] = ()
    segment: str = ""
    threshold: int = 0
    is_link: bool = True

    @property
    def who(self) -> str:
        """What messages call it."""
        return "This link" if self.is_link else "This token"

    @property
    def refusal(self) -> str:
        """The message where nothing can be shown to it."""
        if self.is_link:
            return "A share link can't be used for this: sign in, or use a token."
        return (
            f"This token has a threshold of {self.threshold} visitors and can't be used for this, where numbers of"
            " fewer are not held back: use a token without one."
        )

    @property
    def is_restricted(self) -> bool:
        """Does it show less than the whole site?"""
        return bool(self.filters or self.segment or self.threshold)


class Caller(Protocol):
    """The authenticated principal of a request, as far as handlers need it."""

    @property
    def id(self) -> str:
        """What tells principals of a kind apart, also in logs and audit entries: no secret."""

    @property
    def token_id(self) -> str:
        """The same, by its earlier name."""

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites that it covers; empty for all, or for none: `covers_all` tells them apart."""

    @property
    def covers_all(self) -> bool:
        """Does it cover all sites, also later ones?"""

    @property
    def narrowed_by(self) -> Narrowing | None:
        """What a share link, or a token with a threshold, shows; None for everyone else."""

    def covers(self, site_id: str) -> bool:
        """Does it cover the site?"""


C = TypeVar("C", bound=Caller)


class Authorizer(Protocol[C]):
    """Authentication and authorization of requests."""

    async def authenticate(self, authorization: str | None) -> C:
        """The principal of an `Authorization` header. Raises `Unauthorized`."""

    def authorize(self, caller: C, action: Action, resource: Resource) -> None:
        """Raises `Forbidden` unless the caller may do that to the resource."""
