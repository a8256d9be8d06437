"""Signing in, accepting invitations, and what people change about their own account.

Every attempt is counted before it is made (`SignInAttempts`); wrong codes behind a right password by account alone. An
account that does not exist takes as long as a wrong password, and is answered like one. What worked, or failed by this
server's fault, is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import NamedTuple

import msgspec

from analytics_server.access.actions import excess
from analytics_server.access.people.accounts import Account, Accounts, Invitation, Rights
from analytics_server.access.people.attempts import AttemptCounter, SignInAttempts
from analytics_server.access.people.passwords import Passwords, check_password
from analytics_server.access.people.second_factor import SecondFactor
from analytics_server.access.people.sessions import PersonSessions
from analytics_server.access.principals import Principal
from analytics_server.config import AccessSection
from analytics_server.errors import (
    Conflict,
    Forbidden,
    NotFound,
    RequestError,
    StoreError,
    Unauthorized,
)

_UNKNOWN = "unknown_invitation"
_USED = "The link is unknown, was used, or has ended: ask for another."
_CODE_NEEDED = "Send the code of your authenticator app too, or a recovery code."
_FAILED = "The e-mail address, the password or the code is wrong."


def _alone(name: str) -> AbstractAsyncContextManager[None]:
    return nullcontext()


async def _no_principal(token_id: str) -> Principal | None:
    return None


class UsedLink(NamedTuple):
    """Who accepted an invitation, and which rights it gave: none where it was for a new password."""

    person: Account
    rights: Rights


class SignIn:
    """What leads to a session, and what needs a password."""

    def __init__(
        self,
        people: Accounts,
        sessions: PersonSessions,
        settings: AccessSection,
        clock: Callable[[], float] = time.time,
        passwords: Passwords | None = None,
        by_password: bool = True,
        holder: Callable[[str], Awaitable[Principal | None]] = _no_principal,
        turn: Callable[[str], AbstractAsyncContextManager[None]] = _alone,
    ) -> None:
        """`by_password` false: people come through a provider only. `holder`: of a token's id. `turn`: within that of
        a name, no other server is in it."""
        self._turn = turn
        self._by_password = by_password
        self._holder = holder
        self._people = people
        self._sessions = sessions
        self._clock = clock
        self._settings = settings
        self.passwords = passwords or Passwords()
        self._attempts = SignInAttempts(settings)
        self._by_code = AttemptCounter(settings.sign_ins_per_account, settings.sign_in_window_s)

    async def sign_in(self, email: str, password: str, code: str, address: str) -> tuple[Account, str, int]:
        """The person, a new session's secret, and how many seconds it lives at most.

        Raises `Unauthorized` (sign_in_failed, code_needed), `TooManyAttempts`, `Forbidden` (only_oidc), or a store
        error.
        """
        self._check_method()
        account, began_ms = email.strip().lower(), int(self._clock() * 1000)
        person = await self._checked(account, password, address)
        if person.has_second_factor:
            if not code:
                self._attempts.forgive(account, address)
                raise Unauthorized(_CODE_NEEDED, code="code_needed")
            with self._attempts.excusing(account, address):
                person = await self._used_code(person, code)
        self._attempts.forgive(account, address)
        secret, life_s = await self._sessions.begin(person, began_ms)
        return person, secret, life_s

    async def accept(self, secret: str, password: str, name: str, address: str) -> UsedLink:
        """Make of an invitation what it is for: a person, more rights, or a new password.

        Raises `NotFound` (unknown_invitation), `RequestError` (weak_password), as `sign_in` does, or a store error.
        """
        self._check_method()
        self._attempts.by_address.take(address)
        try:
            invitation = await self._people.invitation_of(secret)
        except StoreError:
            self._attempts.by_address.forgive(address)
            raise
        if invitation is None:
            raise NotFound(_USED, code=_UNKNOWN)
        self._attempts.by_address.forgive(address)
        if invitation.resets:
            return UsedLink(await self._reset(invitation, password), Rights())
        await self._check_inviter(invitation)
        if (known := await self._own_or_new(invitation.email, password, address)) is not None:
            await self._use_up(invitation)
            person = await self._widen(known, invitation)
        else:
            hash_ = await self.passwords.hash(password)
            await self._use_up(invitation)
            person = await self._people.add(
                invitation.email, name=name or invitation.name, rights=invitation.rights, password_hash=hash_
            )
        await self._people.withdraw(invitation.email)
        return UsedLink(person, invitation.rights)

    def _check_method(self) -> None:
        if not self._by_password:
            raise Forbidden("People sign in through the provider only ([oidc] only).", code="only_oidc")

    async def _check_inviter(self, invitation: Invitation) -> None:
        """May the inviter still give these rights? The command line always may. Raises `NotFound`."""
        if not (id_ := invitation.created_by):
            return
        person = self._people.person(id_)
        inviter = person.principal() if person else await self._holder(id_)
        if inviter is None or excess(inviter, invitation.rights.grants()):
            raise NotFound("Who made this link may not give its rights any more: ask for another.", code=_UNKNOWN)

    async def _use_up(self, invitation: Invitation) -> None:
        """Delete it; of several who use it at once, on whichever servers, one succeeds. Raises `NotFound`."""
        async with self._turn(f"link {invitation.id}"):
            is_first = await self._people.uninvite(invitation.id)
        if not is_first:
            raise NotFound(_USED, code=_UNKNOWN)

    async def change_password(self, person: Account, old: str, new: str, address: str) -> None:
        """Another password; all sessions end. Raises as `sign_in` does, and `RequestError` (weak_password)."""
        await self.confirm(person, old, address)
        check_password(new, person.email)
        hash_ = await self.passwords.hash(new)
        await self._people.forget_resets(person.id)
        await self._set_password(person.id, hash_)

    async def confirm(self, person: Account, password: str, address: str) -> None:
        """Is it really the person who asks? Raises as `sign_in` does."""
        await self._checked(person.email, password, address)
        self._attempts.forgive(person.email, address)

    async def begin_second_factor(self, person: Account) -> SecondFactor:
        """One to be confirmed. Raises `Conflict` (second_factor_active)."""
        factor = SecondFactor.new()

        def change(each: Account) -> Account:
            if each.has_second_factor:
                raise Conflict("A second factor is active already: remove it first.", code="second_factor_active")
            return msgspec.structs.replace(each, second_factor=factor)

        await self._people.change(person.id, change)
        return factor

    async def confirm_second_factor(self, person: Account, code: str) -> tuple[str, ...]:
        """Ask for codes from now on; the recovery codes. Raises `RequestError` (bad_code)."""
        codes: tuple[str, ...] = ()

        def change(each: Account) -> Account:
            nonlocal codes
            factor = each.second_factor
            if factor is None or factor.is_active or (used := factor.after(code, self._clock())) is None:
                raise RequestError(
                    "The code is not the one of this moment: compare the clocks, and send the newest.", code="bad_code"
                )
            factor, codes = used.confirmed()
            return msgspec.structs.replace(each, second_factor=factor)

        await self._people.change(person.id, change)
        return codes

    async def remove_second_factor(self, person: Account, code: str) -> None:
        """Ask for no code any more; an active one asks for a last one. Raises as `sign_in` does."""
        if person.has_second_factor:
            if not code:
                raise Unauthorized(_CODE_NEEDED, code="code_needed")
            await self._used_code(person, code)
        await self._people.change(person.id, lambda each: msgspec.structs.replace(each, second_factor=None))

    async def _checked(self, account: str, password: str, address: str) -> Account:
        """The person, if the password is right; counted as an attempt. Raises `Unauthorized`, `TooManyAttempts`."""
        self._attempts.take(account, address)
        await self._people.refresh()
        person = self._people.by_email(account)
        with self._attempts.excusing(account, address):
            right = await self.passwords.is_right(password, person.password_hash if person else "")
        if person is None or not right:
            raise Unauthorized(_FAILED, code="sign_in_failed")
        return person

    async def _own_or_new(self, email: str, password: str, address: str) -> Account | None:
        """The person of that address, if it is their password; None where there is none, and it can be one.

        Whether there is such an account is not told by a weak password: it is counted and answered alike, in the same
        time. Raises as `_checked` does, and `RequestError` (weak_password).
        """
        try:
            person = await self._checked(email, password, address)
        except Unauthorized:
            check_password(password, email)
            if self._people.by_email(email) is not None:
                raise
            person = None
        self._attempts.forgive(email, address)
        return person

    async def _used_code(self, person: Account, code: str) -> Account:
        """The person after a code was used up; of several who send it at once, on whichever servers, one succeeds.

        Raises `Unauthorized`, `TooManyAttempts`, or a store error.
        """

        def change(each: Account) -> Account:
            factor = each.second_factor
            used = factor.after(code, self._clock()) if factor else None
            if used is None:
                raise Unauthorized(_FAILED, code="sign_in_failed")
            return msgspec.structs.replace(each, second_factor=used)

        self._by_code.take(person.id)
        try:
            async with self._turn(f"code {person.id}"):
                changed = await self._people.change(person.id, change, in_turn=True)
        except StoreError:
            self._by_code.forgive(person.id)
            raise
        if changed is None:
            raise Unauthorized(_FAILED, code="sign_in_failed")
        self._by_code.forgive(person.id)
        return changed

    async def _reset(self, invitation: Invitation, password: str) -> Account:
        check_password(password, invitation.email)
        hash_ = await self.passwords.hash(password)
        await self._use_up(invitation)
        await self._people.forget_resets(invitation.resets)
        person = await self._set_password(invitation.resets, hash_)
        if person is None:
            raise NotFound("The account of this link was deleted.", code=_UNKNOWN)
        return person

    async def _set_password(self, person_id: str, hash_: str) -> Account | None:
        """The new password, and the end of all sessions, in one write: what fails half-way leaves none of both.

        None if there is no such person. Raises a store error.
        """
        ended = self._sessions.ended
        person = await self._people.change(
            person_id, lambda each: msgspec.structs.replace(ended(each), password_hash=hash_)
        )
        await self._sessions.forget_ended(person_id)
        return person

    async def _widen(self, person: Account, invitation: Invitation) -> Account:
        def change(each: Account) -> Account:
            rights = each.rights.with_roles(invitation.rights.roles)
            owner = each.rights.owner or invitation.rights.owner
            return msgspec.structs.replace(each, rights=msgspec.structs.replace(rights, owner=owner))

        return await self._people.change(person.id, change) or person
