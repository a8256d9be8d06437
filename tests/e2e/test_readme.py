"""The README's commands do what it says."""

from __future__ import annotations

import re
import shlex
from urllib.parse import urlsplit

import pytest

from tests.docs.pages import ROOT
from tests.server import Client, RunningServer

CURLS = [
    shlex.split(block.replace("\\\n", " "))
    for block in re.findall(r"```sh\n(curl .*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
]


def test_there_are_commands() -> None:
    assert len(CURLS) == 2


@pytest.mark.parametrize("words", CURLS, ids=lambda words: words[2])
async def test_a_question_is_answered(client: Client, server: RunningServer, words: list[str]) -> None:
    assert (await client.call("POST", "/api/v1/sites", {"site_id": "demo"})).status in (201, 409)
    assert words[words.index("-H") + 1] == "Authorization: Bearer $TOKEN"
    address = urlsplit(next(word for word in words if word.startswith("http")))
    body = words[words.index("-d") + 1].encode()

    reply = await client.request(
        "POST",
        f"{address.path}?{address.query}",
        body,
        {"Authorization": f"Bearer {server.token}", "Content-Type": "application/x-www-form-urlencoded"},
    )

    assert reply.status == 200, reply.body
