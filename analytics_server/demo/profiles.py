"""Real browsers' user agents, screens and languages, with how often each is met.

Owns `profiles.json`, a sample of 300 profiles of the npm package `user-agents` (Intoli,
LLC; BSD 2-Clause, see `profiles.LICENSE`). The demo and the benchmarks draw from it, so
that made-up traffic meets the same caches and rules as real traffic does.
"""

from __future__ import annotations

from importlib import resources

import msgspec


class Profile(msgspec.Struct, frozen=True, array_like=True):
    """One kind of browser; `weight` is its share in 100,000, `screen` WIDTHxHEIGHT."""

    weight: int
    user_agent: str
    screen: str
    language: str


class _File(msgspec.Struct, frozen=True):
    profiles: list[Profile]


def load_profiles() -> list[Profile]:
    """Read the packed list."""
    text = resources.files("analytics_server.demo").joinpath("profiles.json").read_bytes()
    return msgspec.json.decode(text, type=_File).profiles
