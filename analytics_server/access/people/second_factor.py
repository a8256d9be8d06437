"""The second factor: time-based codes (TOTP, RFC 6238) and recovery codes, each of which works once.

A code of 30 seconds is taken one step early or late, for clocks that differ; the step of the last one that was taken is
stored, and neither it nor an earlier one is taken again. Of recovery codes, 80 random bits each, hashes are stored.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

import msgspec
import pyotp

STEP_S = 30
DRIFT_STEPS = 1
RECOVERY_CODES = 10
ISSUER = "Analytics"


class SecondFactor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a person's codes are checked by. `is_active`: confirmed by a first code; until then none is asked for."""

    secret: str
    is_active: bool = False
    last_step: int = 0
    recovery_hashes: tuple[str, ...] = ()

    @classmethod
    def new(cls) -> SecondFactor:
        """One that is not confirmed yet."""
        return cls(secret=pyotp.random_base32())

    @classmethod
    def unknown(cls) -> SecondFactor:
        """For one that can't be read: a code is asked for, and none fits."""
        return cls(secret=pyotp.random_base32(), is_active=True)

    def uri(self, email: str) -> str:
        """The address that an authenticator app reads."""
        return pyotp.TOTP(self.secret).provisioning_uri(name=email, issuer_name=ISSUER)

    def confirmed(self) -> tuple[SecondFactor, tuple[str, ...]]:
        """Active from now on, with new recovery codes, which are shown this once."""
        codes = tuple(secrets.token_hex(10) for _ in range(RECOVERY_CODES))
        return msgspec.structs.replace(self, is_active=True, recovery_hashes=tuple(map(_hash, codes))), codes

    def after(self, code: str, now: float) -> SecondFactor | None:
        """What is to be stored after this code was used, or None if it is not taken."""
        text = "".join(code.split()).replace("-", "").lower()
        if len(text) == 6 and text.isascii() and text.isdigit():
            step = self._step_of(text, int(now) // STEP_S)
            return None if step <= self.last_step else msgspec.structs.replace(self, last_step=step)
        digest = _hash(text)
        left = tuple(each for each in self.recovery_hashes if not hmac.compare_digest(each, digest))
        return None if len(left) == len(self.recovery_hashes) else msgspec.structs.replace(self, recovery_hashes=left)

    def _step_of(self, code: str, now: int) -> int:
        """The latest step of this code, or 0."""
        totp = pyotp.TOTP(self.secret)
        found = 0
        for step in range(now - DRIFT_STEPS, now + DRIFT_STEPS + 1):
            if hmac.compare_digest(totp.at(step * STEP_S), code):
                found = step
        return found


class KeptFactor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person's second factor as it is stored, under the person's id; None for one that was removed."""

    second_factor: SecondFactor | None = None


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()
