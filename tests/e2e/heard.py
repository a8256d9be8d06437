"""Everything that was answered, sent or logged during a test, and where: to be searched for secrets at the end."""

from __future__ import annotations

from tests.server import Reply


class Heard:
    """Everything that was answered, sent or logged, and where."""

    def __init__(self) -> None:
        self.said: dict[str, bytes] = {}
        self.kept: list[str] = []
        """Secrets that have to be stored as they are, with the person's account."""

    def note(self, where: str, what: bytes | str) -> None:
        self.said[where] = self.said.get(where, b"") + (what.encode() if isinstance(what, str) else what)

    def reply(self, where: str, reply: Reply) -> Reply:
        self.note(where, repr(dict(reply.headers)).encode() + reply.body)
        return reply

    def containing(self, secrets: list[str]) -> list[tuple[str, str]]:
        return [(where, one) for where, what in self.said.items() for one in secrets if one.encode() in what]
