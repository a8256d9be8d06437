"""Verdicts of steps: an event is dropped with a typed reason, or rejected with a code.

Both are values: they are expected, and an exception would cost more than the step.
"""

from __future__ import annotations

import msgspec

from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.bot_reason import BotReason
from analytics_server.collect.formats.names import FieldNames, code_of, own_name


class Drop(msgspec.Struct, frozen=True):
    """The event is accepted, counted and not kept. `about`: what there is to say beyond it; `kind`: which bot.

    `example`: what it was about, as `examples.py` makes it.
    """

    reason: DropReason
    about: str = ""
    kind: str = ""
    example: str = ""


class Reject(msgspec.Struct, frozen=True):
    """The event is refused, and the client is told the code and the message. `example`: as of a drop.

    `field`: the one at fault, by the name of `/track`, as it stands in the code too; the message has `{}` in its place.
    Where the client's format calls it otherwise, both name it so.
    """

    code: str
    message: str
    example: str = ""
    field: str = ""

    def told(self, names: FieldNames) -> tuple[str, str]:
        """Code and message in the words of a format."""
        if not self.field:
            return self.code, self.message
        name = own_name(self.field, names)
        code = self.code if name == self.field else code_of(self.code.partition("_")[0], name)
        return code, self.message.format(name)


_BOTS = {kind: f"It looks automated. {kind.about}" for kind in BotReason}


def bot(kind: BotReason, name: str) -> Drop:
    """The drop of a robot's event. `name`: what it calls itself."""
    return Drop(DropReason.BOT, _BOTS[kind], kind.value, name)


Verdict = Drop | Reject | None
"""None: the event goes on to the next step."""
