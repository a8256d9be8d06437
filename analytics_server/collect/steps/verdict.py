"""What a step says of an event that it does not pass on: dropped with a typed reason, or rejected with a code.

Both are values: they are expected, and an exception would cost more than the step.
"""

from __future__ import annotations

import msgspec

from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.bot_reason import BotReason


class Drop(msgspec.Struct, frozen=True):
    """The event is accepted, counted and not kept. `about`: what there is to say beyond it; `kind`: which bot."""

    reason: DropReason
    about: str = ""
    kind: str = ""


class Reject(msgspec.Struct, frozen=True):
    """The event is refused, and the client is told the code and the message."""

    code: str
    message: str


BOTS = {kind: Drop(DropReason.BOT, f"It looks automated. {kind.about}", kind.value) for kind in BotReason}
"""What is said of each kind of bot."""

Verdict = Drop | Reject | None
"""None: the event goes on to the next step."""
