"""Passwords: which are accepted, and their hashes (argon2id), computed by threads.

Hashing costs 19 MiB and some 30 ms on purpose, so at most `AT_ONCE` run at a time and `MOST_WAITING` wait; more are
refused. The parameters are the first of OWASP's Password Storage Cheat Sheet. The list of common passwords is the
beginning of zxcvbn's (Dropbox, MIT licence: `common_passwords.LICENSE`), and some of our own.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Callable
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from analytics_server.errors import RequestError, Unavailable

P = ParamSpec("P")
R = TypeVar("R")

LEAST_CHARS = 12
MOST_CHARS = 256
AT_ONCE = 2
MOST_WAITING = 50
_LEET = str.maketrans("013457@$!", "oieastasi")
_AROUND = re.compile(r"^[\W\d_]+|[\W\d_]+$")


def normalized(password: str) -> str:
    """The password in one Unicode form (NFKC), however a keyboard has composed its letters (RFC 8265)."""
    return unicodedata.normalize("NFKC", password)


def check_password(password: str, email: str = "") -> None:
    """Raises `RequestError` (weak_password) for one that is too short, too long, or easily guessed."""
    text = normalized(password)
    if len(text) < LEAST_CHARS:
        raise _weak(f"The password has {len(text)} characters; it needs {LEAST_CHARS}.")
    if len(text) > MOST_CHARS:
        raise _weak(f"The password may have {MOST_CHARS} characters.")
    if is_common(text):
        raise _weak("The password is one of the most common ones, or made of one: choose another.")
    name = email.partition("@")[0].lower()
    if len(name) >= 4 and name in text.lower() and len(text) - len(name) < LEAST_CHARS - 4:
        raise _weak("The password is made of the e-mail address: choose another.")


def is_common(password: str) -> bool:
    """Is it a common password, such a one with digits or signs around or in it, or one piece repeated?"""
    text = password.lower()
    core = _AROUND.sub("", text)
    forms = {text, text.replace(" ", ""), core, core.translate(_LEET), _AROUND.sub("", text.translate(_LEET))}
    if not core or len(set(text)) < 5 or _is_sequence(text):
        return True
    if forms & _common():
        return True
    piece = re.fullmatch(r"(.{1,8}?)\1+", text)
    return piece is not None


def _is_sequence(text: str) -> bool:
    """Do its characters follow each other, up or down?"""
    steps = {ord(after) - ord(before) for before, after in pairwise(text)}
    return len(steps) == 1 and steps <= {-1, 0, 1}


@cache
def _common() -> frozenset[str]:
    file = resources.files("analytics_server.access.people") / "common_passwords.txt"
    return frozenset(file.read_text(encoding="utf-8").split("\n")) - {""}


def _weak(message: str) -> RequestError:
    return RequestError(message, code="weak_password")


class Passwords:
    """Hashes and verifies, a few at a time."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._dummy_hash = ""

    async def hash(self, password: str) -> str:
        """The hash to store. Raises `Unavailable`."""
        return await self._run(self._hasher.hash, normalized(password))

    async def is_right(self, password: str, hash_: str) -> bool:
        """Is it the password of the hash? An empty hash takes as long, and is never right. Raises `Unavailable`."""
        if not self._dummy_hash:
            self._dummy_hash = await self._run(self._hasher.hash, "nobody's password")
        return await self._run(self._verify, hash_ or self._dummy_hash, normalized(password)) and bool(hash_)

    def _verify(self, hash_: str, password: str) -> bool:
        try:
            return self._hasher.verify(hash_, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if self._waiting >= MOST_WAITING:
            raise Unavailable("Too many sign-ins are under way: try again in a moment.", code="busy")
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(work, *args, **kwargs)
        finally:
            self._waiting -= 1
