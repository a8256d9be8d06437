"""People and invitations: who may sign in, kept in ClickHouse and in memory.

Owns the table `people`. An e-mail address, without regard to case, names one person: a second one is refused; where
two servers have made the same one at once, the elder signs in. A person has at least one role, or is deleted. A link's
secret is stored by a keyed hash, as a token's. The second factor, which every sign-in with a code changes, is stored
apart: such a write must never bring back rights or a password that another server changes at the same moment.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from analytics_server.access.people.second_factor import KeptFactor, SecondFactor
from analytics_server.access.principals import Grant, Principal, PrincipalKind, Role
from analytics_server.access.tokens import ID_CHARS, keyed_hash, new_hash, token_hash
from analytics_server.errors import Conflict, StoreError
from analytics_server.store.documents import Documents, DocumentTable, Key
from analytics_server.store.protocol import Store
from analytics_server.store.unreadable import UnreadableDocuments

log = logging.getLogger(__name__)

PEOPLE = DocumentTable(name="people", key_columns=("kind", "id"), forgets=True)
PERSON, INVITATION, FACTOR = "person", "invitation", "second_factor"
ID_BYTES = 6
LINK_PREFIX = "asi_"
MOST_PEOPLE = MOST_INVITATIONS = 10_000
MOST_INVITATIONS_OF_ONE = 1_000
"""So many open ones by one person or token. Those of the command line are not bounded."""
EXPIRY_S = 3_600

SITE_ROLES = (Role.VIEWER, Role.EDITOR, Role.ADMIN)
"""What a person can be on a site, the lowest first."""
_RANK = SITE_ROLES.index


class Rights(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a person may: everything, or a role on each of some sites."""

    owner: bool = False
    roles: dict[str, Role] = {}

    def grants(self) -> tuple[Grant, ...]:
        """As a principal has them."""
        if self.owner:
            return (Grant.of_role(Role.OWNER),)
        by_role: dict[Role, list[str]] = {}
        for site, role in self.roles.items():
            by_role.setdefault(role, []).append(site)
        return tuple(Grant(role=role, sites=tuple(sites)) for role, sites in by_role.items())

    def with_roles(self, roles: Mapping[str, Role]) -> Rights:
        """The same, with these roles too; of two on a site, the higher one."""
        higher = {site: max(role, self.roles.get(site, role), key=_RANK) for site, role in roles.items()}
        return Rights(owner=self.owner, roles={**self.roles, **higher})

    def without(self, sites: Collection[str]) -> Rights:
        """The same, without the roles on these sites."""
        return Rights(owner=self.owner, roles={site: role for site, role in self.roles.items() if site not in sites})

    def lacks(self, other: Rights) -> bool:
        """Is there a right in the other that is not in these?"""
        return not self.owner and (other.owner or self.with_roles(other.roles) != self)

    @property
    def is_empty(self) -> bool:
        """May they do nothing at all?"""
        return not self.owner and not self.roles


class Account(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Someone who signs in. Sessions that began before `sessions_from_ms` are over."""

    id: str
    email: str
    name: str = ""
    rights: Rights = Rights()
    password_hash: str = ""
    identity: str = ""
    """Issuer and subject of a provider that the person signs in through."""
    second_factor: SecondFactor | None = None
    sessions_from_ms: int = 0
    created_at_ms: int = 0

    def principal(self) -> Principal:
        """As who they act."""
        return Principal(
            kind=PrincipalKind.PERSON, id=self.id, name=self.name or self.email, grants=self.rights.grants()
        )

    @property
    def has_second_factor(self) -> bool:
        """Is a code asked for at sign-in?"""
        return self.second_factor is not None and self.second_factor.is_active


class Invitation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A link by which a person comes to be, gets more rights, or, with `resets`, a new password."""

    id: str
    email: str
    name: str = ""
    rights: Rights = Rights()
    resets: str = ""
    expires_at: datetime
    created_at_ms: int = 0
    created_by: str = ""
    hash_key: str
    hash: str


Stored = Account | Invitation | KeptFactor
S = TypeVar("S", Account, Invitation)
_TYPES: Mapping[str, type[Stored]] = {PERSON: Account, INVITATION: Invitation, FACTOR: KeptFactor}


def invitation_link(base: str, secret: str) -> str:
    """The page's address: behind the #, browsers send it to no server, and to no other page as the referrer."""
    return f"{base}/dashboard#invitation={secret}"


def _decode(key: Key, text: str) -> Stored | None:
    """None: of another kind, kept elsewhere or by a newer version."""
    return msgspec.json.decode(text, type=_TYPES[key[0]]) if key[0] in _TYPES else None


class Accounts:
    """All people and invitations, in memory, refreshed from ClickHouse."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float] = time.time,
        unreadable: UnreadableDocuments | None = None,
        refresh_s: float = 0.5,
    ) -> None:
        self._clock = clock
        self._refresh_s = refresh_s
        self._documents = Documents[Stored | None](
            store,
            PEOPLE,
            decode=_decode,
            encode=lambda value: msgspec.json.encode(value).decode(),
            label=lambda key: (key[0], key[1]),
            clock=clock,
            unreadable=unreadable,
        )
        self._by_email: dict[str, Account] = {}
        self._revision = -1

    # ---- what is known -------------------------------------------------

    async def load(self) -> None:
        """Read all again. Raises a store error."""
        await self._documents.load()

    async def refresh(self) -> None:
        """Read again when it is time; while ClickHouse is away, memory answers."""
        await self._documents.refresh(self._refresh_s)

    def person(self, id_: str) -> Account | None:
        """The person of that id."""
        found = self._documents.get((PERSON, id_))
        return self._whole(found) if isinstance(found, Account) else None

    def _whole(self, person: Account) -> Account:
        """With the second factor; one that can't be read is asked for, and none fits."""
        kept = self._documents.get((FACTOR, person.id))
        if isinstance(kept, KeptFactor):
            return msgspec.structs.replace(person, second_factor=kept.second_factor)
        if (FACTOR, person.id) in self._documents.unreadable:
            return msgspec.structs.replace(person, second_factor=SecondFactor.unknown())
        return person

    def by_email(self, email: str) -> Account | None:
        """The person of that address, in its one spelling."""
        if self._revision != self._documents.revision:
            self._by_email = {each.email: each for each in reversed(self.all())}
            self._revision = self._documents.revision
        return self._by_email.get(email)

    def by_identity(self, identity: str) -> Account | None:
        """The person who signs in through a provider as that issuer and subject."""
        return next((each for each in self.all() if identity and each.identity == identity), None)

    def all(self) -> list[Account]:
        """All people, the eldest first."""
        return [self._whole(each) for each in self._sorted(Account)]

    def invitations(self) -> list[Invitation]:
        """All invitations that can still be accepted, the oldest first."""
        return [each for each in self._sorted(Invitation) if each.expires_at > self.now()]

    async def gone(self, ids: Iterable[str]) -> frozenset[str]:
        """Those of which there is nobody, not even one who can't be read, on any replica. Raises a store error."""
        await self._documents.catch_up()
        known = self._documents.unreadable | dict(self._documents.items()).keys()
        return frozenset(id_ for id_ in ids if (PERSON, id_) not in known)

    def has_owner(self) -> bool:
        """Is there a person who may do everything?"""
        return any(each.rights.owner for each in self.all())

    def _sorted(self, kind: type[S]) -> list[S]:
        found = (each for _, each in self._documents.items() if isinstance(each, kind))
        return sorted(found, key=lambda each: (each.created_at_ms, each.id))

    def now(self) -> datetime:
        """The clock by which invitations end."""
        return datetime.fromtimestamp(self._clock(), UTC)

    # ---- people --------------------------------------------------------

    async def add(self, email: str, *, name: str, rights: Rights, password_hash: str, identity: str = "") -> Account:
        """Make a person. Raises `Conflict`, or a store error."""
        async with self._documents.changing:
            await self.load()
            if self.by_email(email) is not None:
                raise Conflict("There is a person of that e-mail address already.", code="person_exists")
            if len(self.all()) >= MOST_PEOPLE:
                raise Conflict(f"There are {MOST_PEOPLE} people already: delete some.", code="too_many")
            person = Account(
                id=secrets.token_hex(ID_BYTES),
                email=email,
                name=name,
                rights=rights,
                password_hash=password_hash,
                identity=identity,
                created_at_ms=self._now_ms(),
            )
            await self._documents.put((PERSON, person.id), person)
            return person

    async def change(
        self, id_: str, change: Callable[[Account], Account], *, owner_stays: bool = True, in_turn: bool = False
    ) -> Account | None:
        """Store what `change` makes of the person as ClickHouse knows them now; None if there is none.

        `change` may raise, and then nothing is stored. `in_turn`: no other server is at it, and what one has written
        just before is not to be missed. Raises `Conflict` (last_owner) unless `owner_stays` is false, or a store error.
        """
        async with self._documents.changing:
            await (self._documents.catch_up() if in_turn else self.load())
            person = self.person(id_)
            if person is None:
                return None
            changed = change(person)
            if owner_stays:
                self.check_owner_stays(person, changed.rights)
            if changed.rights.is_empty:
                await self._documents.delete_all([(PERSON, id_), (FACTOR, id_)])
            else:
                await self._put(person, changed)
            return changed

    async def _put(self, person: Account, changed: Account) -> None:
        new: dict[Key, Stored | None] = {}
        if changed.second_factor != person.second_factor:
            new[FACTOR, person.id] = KeptFactor(second_factor=changed.second_factor)
        if msgspec.structs.replace(changed, second_factor=person.second_factor) != person:
            new[PERSON, person.id] = msgspec.structs.replace(changed, second_factor=None)
        if new:
            await self._documents.put_all(new)

    async def remove(self, id_: str) -> bool:
        """Delete a person for good; False if there is none. Raises `Conflict` (last_owner), or a store error."""
        async with self._documents.changing:
            await self.load()
            if (person := self.person(id_)) is not None:
                self.check_owner_stays(person, Rights())
            elif (PERSON, id_) not in self._documents.unreadable:
                return False
            await self._documents.delete_all([(PERSON, id_), (FACTOR, id_)])
            return True

    def check_owner_stays(self, person: Account, rights: Rights) -> None:
        """Raises `Conflict` if no owner is left once the person has these rights."""
        others = (each for each in self.all() if each.id != person.id)
        if person.rights.owner and not rights.owner and not any(each.rights.owner for each in others):
            raise Conflict("This is the last owner: make another person an owner first.", code="last_owner")

    # ---- invitations ---------------------------------------------------

    async def invite(
        self,
        email: str,
        *,
        name: str = "",
        rights: Rights = Rights(),  # noqa: B008 - frozen
        resets: str = "",
        life_s: float,
        created_by: str = "",
    ) -> tuple[Invitation, str]:
        """Make an invitation, and its secret, which is shown this once. Raises `Conflict`, or a store error."""
        secret = LINK_PREFIX + secrets.token_urlsafe(32)
        key, hash_ = new_hash(secret)
        invitation = Invitation(
            id=token_hash(secret)[:ID_CHARS],
            email=email,
            name=name,
            rights=rights,
            resets=resets,
            expires_at=datetime.fromtimestamp(int(self._clock() + life_s), UTC),
            created_at_ms=self._now_ms(),
            created_by=created_by,
            hash_key=key,
            hash=hash_,
        )
        async with self._documents.changing:
            await self._delete_expired()
            if created_by and not resets:
                self._check_room(created_by)
            await self._documents.put((INVITATION, invitation.id), invitation)
        return invitation, secret

    async def invitation_of(self, secret: str) -> Invitation | None:
        """The invitation of a link's secret, if it has not ended. Raises a store error."""
        await self.load()
        found = self._documents.get((INVITATION, token_hash(secret)[:ID_CHARS]))
        if not isinstance(found, Invitation) or found.expires_at <= self.now():
            return None
        return found if secrets.compare_digest(keyed_hash(secret, found.hash_key), found.hash) else None

    async def uninvite(self, id_: str) -> bool:
        """Delete an invitation for good; False if there is none, on any replica. Raises a store error."""
        async with self._documents.changing:
            await self._documents.catch_up()
            if self._documents.get((INVITATION, id_)) is None:
                return False
            await self._documents.delete((INVITATION, id_))
            return True

    async def withdraw(self, email: str, sites: Collection[str] | None = None) -> None:
        """Delete the invitations of an address, password links apart; or take these sites out of them.

        Raises a store error.
        """
        async with self._documents.changing:
            await self.load()
            gone: list[Key] = []
            less: dict[Key, Stored | None] = {}
            for each in self._sorted(Invitation):
                if each.email != email or each.resets:
                    continue
                left = Rights() if sites is None else each.rights.without(sites)
                if left.is_empty:
                    gone.append((INVITATION, each.id))
                elif left != each.rights:
                    less[INVITATION, each.id] = msgspec.structs.replace(each, rights=left)
            await self._documents.delete_all(gone)
            if less:
                await self._documents.put_all(less)

    async def forget_resets(self, person_id: str, *, made_by: str | None = None, but: str = "") -> None:
        """Delete the links that set a person's password, or those made by one, `but` one. Raises a store error."""
        async with self._documents.changing:
            await self.load()
            resets = (each for each in self._sorted(Invitation) if each.resets == person_id)
            gone = [each for each in resets if made_by in (None, each.created_by) and each.id != but]
            await self._documents.delete_all([(INVITATION, each.id) for each in gone])

    async def delete_expired(self) -> None:
        """Delete the invitations that have ended. Raises a store error."""
        async with self._documents.changing:
            await self._delete_expired()

    async def run(self) -> None:
        """Delete ended invitations at intervals until cancelled: a task to own."""
        while True:
            try:
                await self.delete_expired()
            except StoreError as error:
                log.debug("ended invitations not deleted", extra={"reason": type(error).__name__})
            await asyncio.sleep(EXPIRY_S)

    async def _delete_expired(self) -> None:
        await self.load()
        now, invitations = self.now(), self._sorted(Invitation)
        await self._documents.delete_all([(INVITATION, each.id) for each in invitations if each.expires_at <= now])

    def _check_room(self, created_by: str) -> None:
        found = self.invitations()
        own = sum(each.created_by == created_by for each in found)
        if own >= MOST_INVITATIONS_OF_ONE or len(found) >= MOST_INVITATIONS:
            raise Conflict(
                f"There are {own} open invitations of yours and {len(found)} of all; there may be "
                f"{MOST_INVITATIONS_OF_ONE} and {MOST_INVITATIONS}: take some back.",
                code="too_many",
            )

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
