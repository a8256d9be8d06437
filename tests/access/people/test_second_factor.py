"""Codes of authenticator apps and recovery codes: each works once."""

from __future__ import annotations

import msgspec
import pyotp

from analytics_server.access.people.second_factor import SecondFactor

NOW = 1_800_000_010.0


def code(factor: SecondFactor, at: float) -> str:
    return pyotp.TOTP(factor.secret).at(int(at))


def test_a_code_is_taken_a_step_early_or_late_and_never_twice() -> None:
    factor = SecondFactor.new()
    for at in (NOW - 30, NOW, NOW + 30):
        assert factor.after(code(factor, at), NOW) is not None
    assert factor.after(code(factor, NOW - 90), NOW) is None
    assert factor.after(code(factor, NOW + 90), NOW) is None

    used = factor.after(code(factor, NOW), NOW)
    assert used is not None
    assert used.after(code(factor, NOW), NOW) is None
    assert used.after(code(factor, NOW - 30), NOW) is None  # an earlier one neither
    assert used.after(code(factor, NOW + 30), NOW + 30) is not None


def test_a_recovery_code_works_once() -> None:
    factor, codes = SecondFactor.new().confirmed()
    assert len(set(codes)) == 10
    assert not any(one in msgspec.json.encode(factor).decode() for one in codes)

    left = factor.after(f" {codes[3].upper()} ", NOW)
    assert left is not None
    assert left.after(codes[3], NOW) is None
    assert left.after(codes[4], NOW) is not None


def test_nonsense_is_no_code() -> None:
    factor, _ = SecondFactor.new().confirmed()
    assert not any(factor.after(text, NOW) for text in ("", "12345", "1234567", "٣٤٥٦٧٨", "abcdef", "\udc00"))
