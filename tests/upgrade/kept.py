"""A data directory as it is kept for the test of upgrades: an archive with the directory and the expected answers.

The archive `data-NAME.tar.xz` holds `data/` (a server's data directory as it was when the server was killed) and
`answers.json` (`Kept`): questions over HTTP with the answers that the version which wrote the data gave to them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tests.server import Client

ANSWERS = "answers.json"
DATA = "data"
META = ("time_zone", "date_range", "comparison_date_range", "total_rows", "currency", "warnings", "truncated")
"""What of `meta` belongs to the answer; the rest says how it was come by, and may change."""

DEFINITIONS = "The definitions of the numbers changed"
"""How an answer warns of a range on both sides of the upgrade, which no earlier version can."""

PROGRESS = frozenset({"status", "progress"})
"""How far the table of a saved funnel is; an experiment's `status`, without `progress`, is part of the answer."""

DIGITS = 9
"""Significant digits of a float that are compared: sums of floats depend on the order of the parts."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A request; `token` names one of `Kept.tokens`."""

    token: str
    method: str
    path: str
    body: Any = None


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A question, and what the version that wrote the data answered."""

    question: Question
    status: int
    answer: Any


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """All that the test needs to know of one archive."""

    version: str
    commit: str
    tokens: dict[str, str]
    answers: list[Answered]
    dead_letters: list[dict[str, Any]]
    """What `dead-letters export --all` printed, an object a line."""


async def ask(client: Client, tokens: dict[str, str], question: Question) -> Answered:
    """Ask, and reduce the answer to what has to stay the same."""
    reply = await client.call(question.method, question.path, question.body, token=tokens[question.token])
    return Answered(question=question, status=reply.status, answer=comparable(reply.json))


def comparable(value: Any) -> Any:
    """The answer without what depends on the moment or on the way it was computed."""
    if isinstance(value, dict):
        if isinstance(error := value.get("error"), dict):
            return {"error": error.get("code")}
        passing = PROGRESS if value.keys() >= PROGRESS else frozenset[str]()
        kept = {name: comparable(one) for name, one in value.items() if name != "meta" and name not in passing}
        if isinstance(meta := value.get("meta"), dict):
            kept["meta"] = {name: comparable(meta[name]) for name in META if name in meta}
            if (warnings := kept["meta"].get("warnings")) is not None:
                kept["meta"]["warnings"] = [text for text in warnings if not text.startswith(DEFINITIONS)]
        return kept
    if isinstance(value, list):
        return [comparable(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    return value


def differences(expected: Any, found: Any, at: str = "") -> list[str]:
    """Where an answer differs; a later version may add keys to an object, and nothing else."""
    if isinstance(expected, dict) and isinstance(found, dict):
        gone = [f"{at}.{name} is gone" for name in expected if name not in found]
        both = [name for name in expected if name in found]
        return gone + [one for name in both for one in differences(expected[name], found[name], f"{at}.{name}")]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [one for index, pair in pairs for one in differences(*pair, f"{at}[{index}]")]
    return [] if expected == found else [f"{at}: {found!r} instead of {expected!r}"]
