"""Authorization as the HTTP layer sees it: the action that an endpoint declares, and the resource it is done to.

Declared data only. Who may do what is decided in one place, which the application hands in as an `Authorizer`
(`access/actions.py`): this layer lies below it and must not import it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

READING = frozenset({"read", "admin"})
MANAGING = frozenset({"admin"})
COLLECTING = frozenset({"collect", "admin"})
ANY_ROLE = frozenset({"read", "collect", "admin"})


class ResourceKind(Enum):
    """What an action is done to."""

    NOTHING = "nothing"
    SITE = "site"
    ALL_SITES = "all sites"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something a principal may be allowed to do. `roles`: those that may, on the resources that they cover.

    `refusal` is the message for the others; `{role}` stands for theirs. `optional_token`: also without any token.
    """

    name: str
    about: str
    resource: ResourceKind
    roles: frozenset[str]
    refusal: str = "This token has the role {role}; reading needs read or admin."
    optional_token: bool = False

    @property
    def role(self) -> str:
        """The role that an API description names: `collect` where a token is optional, else `read` or `admin`."""
        if self.optional_token:
            return "collect"
        return "admin" if self.roles == MANAGING else "read"


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


class Caller(Protocol):
    """The authenticated principal of a request, as far as handlers need it."""

    @property
    def token_id(self) -> str:
        """What tells principals apart, also in logs and audit entries: no secret."""

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites that it covers; empty for all."""

    def covers(self, site_id: str) -> bool:
        """Does it cover the site?"""


C = TypeVar("C", bound=Caller)


class Authorizer(Protocol[C]):
    """Authentication and authorization of requests."""

    async def authenticate(self, authorization: str | None) -> C:
        """The principal of an `Authorization` header. Raises `Unauthorized`."""

    def authorize(self, caller: C, action: Action, resource: Resource) -> None:
        """Raises `Forbidden` unless the caller may do that to the resource."""


class TokenCheck(Protocol):
    """Authentication and authorization in one step, for what holds a connection open and asks again."""

    async def check(self, authorization: str | None, action: Action, resource: Resource) -> None:
        """Raises `Unauthorized`, or `Forbidden` unless the token may do that to the resource."""
