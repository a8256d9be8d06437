"""Maps an identity of an OpenID Connect provider to a person, and its groups to roles.

A person is known by issuer and subject. The first time, the address decides, but only one that the provider has
verified. Where groups are mapped to roles, the provider rules: at each sign-in the person has the roles of their
groups and no others, and without any the account is gone. Otherwise people are added and given roles here.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from analytics_server.access.oidc.failures import NoRole, OidcRefused
from analytics_server.access.oidc.sign_in import OidcIdentity
from analytics_server.access.people.accounts import Account, Accounts, Rights
from analytics_server.access.principals import Role
from analytics_server.access.sites.sites import valid_site_id
from analytics_server.errors import ConfigError
from analytics_server.spelling.email_address import valid_email

_STRONGEST_LAST = (Role.VIEWER, Role.EDITOR, Role.ADMIN)
_NAME_CHARS = 120


class RoleMapping:
    """`entries`: `GROUP=owner` or `GROUP=ROLE@SITE`, as `[oidc] roles` has them."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Raises `ConfigError` for what is no site."""
        self._owners: set[str] = set()
        self._roles: list[tuple[str, Role, str]] = []
        for entry in entries:
            group, _, right = entry.partition("=")
            role, _, site = right.partition("@")
            if role == Role.OWNER:
                self._owners.add(group.strip())
                continue
            site_id = valid_site_id(site)
            if not site_id:
                raise ConfigError(f"[oidc] roles has {entry!r}: {site!r} can't be a site's id.")
            self._roles.append((group.strip(), Role(role), site_id))

    @property
    def is_empty(self) -> bool:
        """Are roles given here, not by the provider?"""
        return not (self._owners or self._roles)

    def rights(self, groups: Iterable[str]) -> Rights:
        """What the groups have together; of two roles on a site the stronger."""
        has = set(groups)
        roles: dict[str, Role] = {}
        for group, role, site_id in self._roles:
            if group in has:
                known = roles.get(site_id, role)
                roles[site_id] = max(known, role, key=_STRONGEST_LAST.index)
        return Rights(owner=bool(self._owners & has), roles=roles)


class OidcPeople:
    """The accounts behind a provider's identities."""

    def __init__(self, people: Accounts, mapping: RoleMapping) -> None:
        self._people = people
        self._mapping = mapping

    def session_starts(self) -> dict[str, int]:
        """Since when sessions count, in milliseconds since 1970, of each person there is."""
        return {person.id: person.sessions_from_ms for person in self._people.all()}

    async def person_of(self, found: OidcIdentity) -> Account:
        """The person, made or changed where need be. Raises `OidcRefused`, `NoRole`, or a store error."""
        await self._people.load()
        identity = f"{found.issuer} {found.subject}"
        known = self._people.by_identity(identity)
        if known is None and found.email_verified:
            known = self._people.by_email(found.email)
            if known is not None and known.identity:
                raise OidcRefused("The account of this address belongs to another identity of the provider.")
        rights = self._mapping.rights(found.groups)
        if known is None:
            return await self._add(found, identity, rights)

        def change(person: Account) -> Account:
            ruled = person.rights if self._mapping.is_empty else rights
            return msgspec.structs.replace(person, identity=identity, rights=ruled)

        changed = await self._people.change(known.id, change, owner_stays=False)  # the provider rules
        if changed is None or changed.rights.is_empty:
            raise _no_role()
        return changed

    async def _add(self, found: OidcIdentity, identity: str, rights: Rights) -> Account:
        if rights.is_empty:
            raise _no_role()
        if not found.email_verified:
            raise OidcRefused("The provider has not verified your e-mail address, so no account is made of it.")
        name = "".join(char for char in found.name if char.isprintable())[:_NAME_CHARS]
        return await self._people.add(
            valid_email(found.email), name=name, rights=rights, password_hash="", identity=identity
        )


def _no_role() -> NoRole:
    return NoRole("The provider knows the person, who has no role here.")
