"""What a step says of an event that it does not pass on: dropped with a typed reason, or rejected with a code.

Both are values: they are expected, and an exception would cost more than the step.
"""

from __future__ import annotations

import msgspec

from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.bot_reason import BotReason


class Drop(msgspec.Struct, frozen=True):
    """The event is accepted, counted and not kept. `about`: what there is to say beyond it; `kind`: which bot.

    `example`: what it was about, as `examples.py` makes it.
    """

    reason: DropReason
    about: str = ""
    kind: str = ""
    example: str = ""


class Reject(msgspec.Struct, frozen=True):
    """The event is refused, and the client is told the code and the message. `example`: as of a drop."""

    code: str
    message: str
    example: str = ""


_BOTS = {kind: f"It looks automated. {kind.about}" for kind in BotReason}


def bot(kind: BotReason, name: str) -> Drop:
    """The drop of a robot's event. `name`: what it calls itself."""
    return Drop(DropReason.BOT, _BOTS[kind], kind.value, name)


Verdict = Drop | Reject | None
"""None: the event goes on to the next step."""
