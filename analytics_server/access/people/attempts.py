"""Rate limit of sign-in attempts: counted by account and by address, in memory that never grows.

Each is a fixed table of counters, addressed by a keyed hash. Names that share a counter are counted together, which a
key of this process alone keeps anyone from arranging; no flood of made-up names pushes a counter out. An account that
does not exist is counted like any other.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from analytics_server.config import AccessSection
from analytics_server.errors import AnalyticsError, TooManyRequests

BUCKETS = 65_536
_OPENS = "Too many share links were opened from this address: wait, then try again."


class TooManyAttempts(TooManyRequests):
    """An account or an address has tried too often."""

    code = "too_many_attempts"


class AttemptCounter:
    """Attempts within a window, in a fixed table: 512 KiB."""

    def __init__(
        self,
        most: int,
        window_s: float,
        refusal: str = "Too many attempts to sign in: wait, then try again.",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._refusal = refusal
        self._window_s = window_s
        self._clock = clock
        self._key = secrets.token_bytes(16)
        self._counts = array("I", bytes(4 * BUCKETS))
        self._windows = array("I", bytes(4 * BUCKETS))

    def take(self, name: str) -> None:
        """Count an attempt before it is made. Raises `TooManyAttempts`."""
        bucket, window = self._find(name)
        if self._counts[bucket] >= self._most:
            error = TooManyAttempts(self._refusal)
            error.retry_after_s = int((window + 1) * self._window_s - self._clock()) + 1
            raise error
        self._counts[bucket] += 1

    def forgive(self, name: str) -> None:
        """The attempt succeeded: it is not counted."""
        bucket, _ = self._find(name)
        if self._counts[bucket]:
            self._counts[bucket] -= 1

    def _find(self, name: str) -> tuple[int, int]:
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4, key=self._key).digest()
        bucket = int.from_bytes(digest) % BUCKETS
        window = int(self._clock() / self._window_s)
        if self._windows[bucket] != window % 2**32:
            self._windows[bucket], self._counts[bucket] = window % 2**32, 0
        return bucket, window


class SignInAttempts:
    """Attempts at passwords of accounts, or of links: by address, by account and address, and by account, where much
    more is let through, so that a stranger elsewhere can't lock a person out.

    `opens_by_address`: links opened without a password, counted apart, as visitors behind one address must not keep its
    people from signing in.
    """

    def __init__(self, settings: AccessSection) -> None:
        window_s = settings.sign_in_window_s
        self.by_address = AttemptCounter(settings.sign_ins_per_address, window_s)
        self.opens_by_address = AttemptCounter(settings.link_opens_per_address, window_s, _OPENS)
        self._by_account_there = AttemptCounter(settings.sign_ins_per_account, window_s)
        self._by_account = AttemptCounter(settings.sign_ins_per_account_in_all, window_s)

    def take(self, account: str, address: str) -> None:
        """Count an attempt before it is made. Raises `TooManyAttempts`."""
        for counter, name in self._counters(account, address):
            counter.take(name)

    def forgive(self, account: str, address: str) -> None:
        """The attempt succeeded: it is not counted."""
        for counter, name in self._counters(account, address):
            counter.forgive(name)

    @contextmanager
    def excusing(self, account: str, address: str) -> Iterator[None]:
        """What fails by this server's fault is no attempt."""
        try:
            yield
        except AnalyticsError as error:
            if error.status >= 500:
                self.forgive(account, address)
            raise

    def _counters(self, account: str, address: str) -> tuple[tuple[AttemptCounter, str], ...]:
        there = f"{address} {account}"
        return (self.by_address, address), (self._by_account_there, there), (self._by_account, account)
